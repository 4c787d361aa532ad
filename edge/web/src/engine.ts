/** The page's side of the worker: a question, a promise. */

import type { Frame } from "./camera.ts";
import { Fault, Locked } from "./fault.ts";
import type { Look } from "./paint.ts";
import type { Found, Loaded, Request, Where } from "./worker.ts";

declare const WORKER: string; // set by the build

interface Waiting {
  readonly resolve: (value: never) => void;
  readonly reject: (error: Error) => void;
}

/** What the worker tells while it works. */
export interface News {
  /** Bytes of the engine that were loaded, of all. */
  progress(done: number, total: number): void;
  /** The server is busy, and asked again in so many seconds. */
  waiting(seconds: number): void;
}

export class Engine {
  private readonly worker = new Worker(new URL(WORKER, document.baseURI));
  private readonly waiting = new Map<number, Waiting>();
  private number = 0;
  private broken = false;

  constructor(news: News) {
    this.worker.onmessage = ({ data }) => {
      if (data.progress) return news.progress(data.progress.done, data.progress.total);
      if (data.waiting) return news.waiting(data.waiting);
      const waiting = this.waiting.get(data.id);
      this.waiting.delete(data.id);
      if (data.error === undefined) waiting?.resolve(data.value as never);
      else waiting?.reject(new (data.error.locked ? Locked : Fault)(data.error.word, data.error.values));
    };
    this.worker.onerror = (event) => {
      event.preventDefault();
      this.broken = true;
      for (const { reject } of this.waiting.values()) reject(new Fault("broken"));
      this.waiting.clear();
    };
  }

  private ask<Answer>(request: Request, transfer: Transferable[] = []): Promise<Answer> {
    if (this.broken) return Promise.reject(new Fault("broken")); // nobody would answer any more
    return new Promise<Answer>((resolve, reject) => {
      this.waiting.set(++this.number, { resolve, reject });
      this.worker.postMessage({ id: this.number, request }, transfer);
    });
  }

  load(request: Omit<Extract<Request, { kind: "load" }>, "kind">): Promise<Loaded> {
    return this.ask({ kind: "load", ...request });
  }

  /** A photo made small. */
  thumbnail(photo: Blob): Promise<ImageBitmap> {
    return this.ask({ kind: "thumbnail", photo });
  }

  /** What `replace` puts behind people from now on; null for a colour. */
  background(picture: Blob | null): Promise<void> {
    return this.ask({ kind: "background", picture });
  }

  /** Segments a photo, which is then the one that `paint`, `save` and `labels` are about. */
  segment(photo: Blob, look: Look, where: Where): Promise<Found> {
    return this.ask({ kind: "segment", photo, look, where });
  }

  frame(frame: Frame, look: Look): Promise<Found> {
    return this.ask({ kind: "frame", frame, look }, [frame]);
  }

  paint(look: Look): Promise<ImageBitmap> {
    return this.ask({ kind: "paint", look });
  }

  save(look: Look, type: string): Promise<Blob> {
    return this.ask({ kind: "save", look, type });
  }

  /** The file of a photo with its effect, whatever photo is shown. */
  make(photo: Blob, look: Look, where: Where, type: string): Promise<Blob> {
    return this.ask({ kind: "make", photo, look, where, type });
  }

  labels(): Promise<Blob> {
    return this.ask({ kind: "labels" });
  }
}
