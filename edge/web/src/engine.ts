/** The page's side of the worker: a question, a promise. */

import type { Found, Loaded, Request } from "./worker.ts";

declare const WORKER: string; // set by the build

interface Waiting {
  readonly resolve: (value: never) => void;
  readonly reject: (error: Error) => void;
}

export class Engine {
  private readonly worker = new Worker(WORKER);
  private readonly waiting = new Map<number, Waiting>();
  private number = 0;
  private broken: Error | null = null;

  constructor(progress: (done: number, total: number) => void) {
    this.worker.onmessage = ({ data }) => {
      if (data.progress) {
        progress(data.progress.done, data.progress.total);
        return;
      }
      const waiting = this.waiting.get(data.id);
      this.waiting.delete(data.id);
      if (data.error === undefined) waiting?.resolve(data.value as never);
      else waiting?.reject(new Error(data.error));
    };
    this.worker.onerror = (event) => {
      event.preventDefault();
      this.broken = new Error("The browser could not run the model; reload the page.");
      for (const { reject } of this.waiting.values()) reject(this.broken);
      this.waiting.clear();
    };
  }

  private ask<Answer>(request: Request, transfer: Transferable[] = []): Promise<Answer> {
    if (this.broken) return Promise.reject(this.broken); // nobody would answer any more
    return new Promise<Answer>((resolve, reject) => {
      this.waiting.set(++this.number, { resolve, reject });
      this.worker.postMessage({ id: this.number, request }, transfer);
    });
  }

  load(request: Omit<Extract<Request, { kind: "load" }>, "kind">): Promise<Loaded> {
    return this.ask({ kind: "load", ...request });
  }

  segment(source: Blob | ImageBitmap, maxPixels: number): Promise<Found> {
    return this.ask({ kind: "segment", source, maxPixels }, source instanceof ImageBitmap ? [source] : []);
  }

  upload(request: Omit<Extract<Request, { kind: "upload" }>, "kind">): Promise<Found> {
    return this.ask({ kind: "upload", ...request });
  }

  cutout(): Promise<Blob> {
    return this.ask({ kind: "cutout" });
  }

  labels(): Promise<Blob> {
    return this.ask({ kind: "labels" });
  }
}
