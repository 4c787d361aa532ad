/** The page's side of the worker: each request returns a promise. */

import type { Frame } from "./camera.ts";
import { Fault, Locked } from "./fault.ts";
import type { Look } from "./paint.ts";
import type { Found, Loaded, Request, Where } from "./worker.ts";

declare const WORKER: string; // set by the build

interface Waiting {
  readonly resolve: (value: never) => void;
  readonly reject: (error: Error) => void;
}

/** What the worker reports while it works. */
export interface News {
  /** Bytes of the engine loaded so far, and of all. */
  progress(done: number, total: number): void;
  /** The server is busy, and will be asked again in this many seconds. */
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

  private ask<Result>(request: Request, transfer: Transferable[] = []): Promise<Result> {
    if (this.broken) return Promise.reject(new Fault("broken")); // there would be no reply
    return new Promise<Result>((resolve, reject) => {
      this.waiting.set(++this.number, { resolve, reject });
      this.worker.postMessage({ id: this.number, request }, transfer);
    });
  }

  load(request: Omit<Extract<Request, { kind: "load" }>, "kind">): Promise<Loaded> {
    return this.ask({ kind: "load", ...request });
  }

  /** A small version of a photo. */
  thumbnail(photo: Blob): Promise<ImageBitmap> {
    return this.ask({ kind: "thumbnail", photo });
  }

  /** Sets the background for `replace`; null for a colour. */
  background(picture: Blob | null): Promise<void> {
    return this.ask({ kind: "background", picture });
  }

  /** Segments a photo; `paint`, `save` and `labels` then refer to it. */
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

  /** A photo with its effect as a file, whichever photo is shown. */
  make(photo: Blob, look: Look, where: Where, type: string): Promise<Blob> {
    return this.ask({ kind: "make", photo, look, where, type });
  }

  labels(): Promise<Blob> {
    return this.ask({ kind: "labels" });
  }
}
