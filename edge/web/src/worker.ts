/** The worker: pictures come in, answers go out; the page stays quick meanwhile. */

import { ask, type ClassInfo, type ModelInfo } from "./api.ts";
import { cutout, mask, overlay, type Result } from "./paint.ts";
import { greyPng } from "./png.ts";
import { alphaOf, labelsOf, sharesOf } from "./postprocess.ts";
import { tableOf, toTensor } from "./preprocess.ts";
import type { Numbers } from "./resize.ts";
import { filesOf, Running, start, variant } from "./runtime.ts";

export type Timing = Record<string, number>;

export interface Found {
  readonly width: number;
  readonly height: number;
  /** The photo's own size, where it was too large and has been scaled down. */
  readonly original: readonly [number, number] | null;
  readonly shares: readonly number[];
  readonly timing: Timing;
  readonly overlay: ImageBitmap;
  readonly mask: ImageBitmap;
}

export type Request =
  | { readonly kind: "load"; readonly model: ModelInfo; readonly token: string }
  | { readonly kind: "segment"; readonly source: Blob | ImageBitmap; readonly maxPixels: number }
  | { readonly kind: "upload"; readonly photo: Blob; readonly model: ModelInfo; readonly token: string }
  | { readonly kind: "cutout" }
  | { readonly kind: "labels" };

interface Ready {
  readonly info: ModelInfo;
  readonly model: Running;
  readonly table: Numbers;
}

export interface Loaded {
  readonly threads: number;
  readonly files: readonly string[];
}

let started: Promise<"threaded" | "compat"> | null = null;
let running: Ready | null = null;
let last: { result: Result; photo: Blob | null } | null = null;

async function load({ model, token }: { model: ModelInfo; token: string }): Promise<Loaded> {
  started ??= variant().then(async (name) => {
    await start(name, (done, total) => postMessage({ progress: { done, total } }));
    return name;
  });
  started.catch(() => (started = null)); // the network may be back when it is tried again
  const name = await started;
  if (running?.info.sha256 !== model.sha256) {
    running?.model.close();
    running = null;
    const table = tableOf(model.input, model.card.scale, model.card.offset);
    running = { info: model, model: await Running.open(model, token), table };
    await warmUp(running);
  }
  const threads = name === "threaded" ? Math.min(navigator.hardwareConcurrency || 1, 4) : 1;
  return { threads, files: filesOf(name) };
}

/** The first pictures are slow, as the browser compiles what it sees used; so they are none of the user's. */
async function warmUp({ info, model, table }: Ready): Promise<void> {
  const [width, height] = [640, 480];
  const blank = { data: new Uint8Array(4 * width * height), width, height, channels: 4 };
  for (let i = 0; i < 3; i++) {
    const data = await model.run(toTensor(blank, info.input, table));
    labelsOf({ data, spec: info.output, kind: info.card.output }, width, height);
  }
}

/** Pixels as they are stored: upright, and without the colours' profile, which Python's decoder doesn't apply either. */
async function decode(source: Blob | ImageBitmap, maxPixels: number): Promise<{ image: ImageData; original: [number, number] | null }> {
  let picture: ImageBitmap;
  if (source instanceof ImageBitmap) picture = source;
  else {
    try {
      picture = await createImageBitmap(source, { imageOrientation: "from-image", colorSpaceConversion: "none" });
    } catch {
      throw new Error("This browser can't decode the file; export it as JPEG or PNG.");
    }
  }
  let { width, height } = picture, original: [number, number] | null = null;
  if (width * height > maxPixels) {
    original = [width, height];
    const scale = Math.sqrt(maxPixels / (width * height));
    [width, height] = [Math.floor(width * scale), Math.floor(height * scale)];
  }
  const canvas = new OffscreenCanvas(width, height);
  const context = canvas.getContext("2d", { willReadFrequently: true, alpha: false })!;
  context.fillStyle = "#fff"; // what is transparent is white, as in Python
  context.fillRect(0, 0, width, height);
  context.drawImage(picture, 0, 0, width, height);
  picture.close();
  return { image: context.getImageData(0, 0, width, height), original };
}

async function segment({ source, maxPixels }: { source: Blob | ImageBitmap; maxPixels: number }): Promise<Found> {
  if (!running) throw new Error("No model is loaded yet.");
  const { info, model, table } = running;
  const began = performance.now();
  const { image, original } = await decode(source, maxPixels);
  const { width, height } = image;
  const decoded = performance.now();
  const pixels = new Uint8Array(image.data.buffer);
  const tensor = toTensor({ data: pixels, width, height, channels: 4 }, info.input, table);
  const prepared = performance.now();
  const data = await model.run(tensor);
  const inferred = performance.now();
  const scores = { data, spec: info.output, kind: info.card.output };
  const labels = labelsOf(scores, width, height), shares = sharesOf(labels, info.card.classes.length);
  const done = performance.now();
  const alpha = alphaOf(scores, width, height);
  return answer({ labels, alpha, width, height }, source, info.card.classes, original, shares, {
    decode: decoded - began,
    preprocess: prepared - decoded,
    inference: inferred - prepared,
    postprocess: done - inferred,
  });
}

/** The same by the server, whose label map comes back as a PNG. */
async function upload(request: { photo: Blob; model: ModelInfo; token: string }): Promise<Found> {
  const { photo, model, token } = request;
  const began = performance.now();
  const url = `/v1/segment?output=labels&model=${encodeURIComponent(model.name)}`;
  const response = await ask(url, token, { method: "POST", body: photo });
  const timing: Timing = {};
  for (const [, stage, elapsed] of (response.headers.get("Server-Timing") ?? "").matchAll(/(\w+);dur=([\d.]+)/g)) {
    timing[stage!] = Number(elapsed);
  }
  const { image } = await decode(await response.blob(), Infinity);
  const { width, height } = image;
  const labels = Uint8Array.from({ length: width * height }, (_, i) => image.data[4 * i]!);
  timing["transfer"] = performance.now() - began - Object.values(timing).reduce((sum, value) => sum + value, 0);
  const shares = sharesOf(labels, model.card.classes.length);
  const alpha = labels.map((label) => (label ? 255 : 0));
  return answer({ labels, alpha, width, height }, photo, model.card.classes, null, shares, timing);
}

function answer(
  result: Result, source: Blob | ImageBitmap, classes: readonly ClassInfo[], original: readonly [number, number] | null,
  shares: readonly number[], timing: Timing,
): Found {
  last = { result, photo: source instanceof Blob ? source : null };
  const { width, height } = result;
  return { width, height, original, shares, timing, overlay: overlay(result, classes), mask: mask(result, classes) };
}

async function handle(request: Request): Promise<unknown> {
  if (request.kind === "load") return load(request);
  if (request.kind === "segment") return segment(request);
  if (request.kind === "upload") return upload(request);
  if (!last?.photo) throw new Error("There is no photo to cut out.");
  if (request.kind === "cutout") return cutout(last.result, last.photo);
  return greyPng(last.result.labels, last.result.width, last.result.height);
}

// One after the other: a model can't be exchanged while it runs.
let turn = Promise.resolve();
self.onmessage = ({ data: { id, request } }: MessageEvent<{ id: number; request: Request }>) => {
  turn = turn.then(async () => {
    try {
      const value = await handle(request);
      const pictures = Object.values(value ?? {}).filter((part) => part instanceof ImageBitmap);
      postMessage({ id, value }, { transfer: pictures as Transferable[] });
    } catch (error) {
      postMessage({ id, error: error instanceof Error ? error.message : String(error) });
    }
  });
};
