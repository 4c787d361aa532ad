/** The worker: pictures in, results out, while the page stays responsive. */

import { ask, type Listing, type ModelInfo } from "./api.ts";
import type { Frame } from "./camera.ts";
import { megabytes } from "./dom.ts";
import { Fault, Locked } from "./fault.ts";
import { marked } from "./mark.ts";
import { softAlpha } from "./matte.ts";
import { cover, paint, type Look, type Scene } from "./paint.ts";
import { greyPng } from "./png.ts";
import { labelsOf, sharesOf, type Scores } from "./postprocess.ts";
import { tableOf, toTensor } from "./preprocess.ts";
import { hidePeople } from "./privacy.ts";
import type { Bytes, Numbers, Plane } from "./resize.ts";
import { filesOf, Running, start, threadsOf, variant } from "./runtime.ts";
import type { Word } from "./strings.ts";
import { segmentTiled } from "./tiles.ts";
import { findSeen, layOverWhite, type Transparent } from "./transparency.ts";
import { drawUpright, takeOrientation } from "./upright.ts";

export type Timing = Record<string, number>;

/** The server that segments; null if this browser does. */
export type Where = {
  readonly url: string;
  readonly token: string;
  readonly classes: ModelInfo["card"]["classes"];
  readonly limits: Listing["limits"];
} | null;

export interface Found {
  readonly size: readonly [number, number];
  /** The photo's own size, if it was too large and has been scaled down. */
  readonly original: readonly [number, number] | null;
  readonly shares: readonly number[];
  readonly timing: Timing;
  /** The photo, upright; null for a camera's frame. */
  readonly photo: ImageBitmap | null;
  readonly picture: ImageBitmap;
}

export type Request =
  | { readonly kind: "load"; readonly model: ModelInfo; readonly token: string }
  | { readonly kind: "thumbnail"; readonly photo: Blob }
  | { readonly kind: "background"; readonly picture: Blob | null }
  | { readonly kind: "segment"; readonly photo: Blob; readonly look: Look; readonly where: Where }
  | { readonly kind: "frame"; readonly frame: Frame; readonly look: Look }
  | { readonly kind: "paint"; readonly look: Look }
  | { readonly kind: "save"; readonly look: Look; readonly type: string }
  | { readonly kind: "make"; readonly photo: Blob; readonly look: Look; readonly where: Where; readonly type: string }
  | { readonly kind: "labels" };

export interface Loaded {
  readonly threads: number;
  readonly files: readonly string[];
}

const MAX_PIXELS = 16_000_000; // the limit of an iPhone's canvas
const MAX_BACKGROUND_PIXELS = 4_000_000;
const THUMBNAIL = 144; // pixels, for screens with two a point

interface Ready {
  readonly info: ModelInfo;
  readonly model: Running;
  readonly table: Numbers;
}

interface Picture {
  readonly plane: Plane;
  readonly transparent: Transparent | null;
  readonly original: readonly [number, number] | null;
}

let started: Promise<"threaded" | "compat"> | null = null;
let running: Ready | null = null;
let background: Plane | null = null;
let last: Scene | null = null;

async function load({ model, token }: { model: ModelInfo; token: string }): Promise<Loaded> {
  started ??= variant().then(async (name) => {
    await start(name, (done, total) => postMessage({ progress: { done, total } }));
    return name;
  });
  started.catch(() => (started = null)); // the network may be back at the next attempt
  const name = await started;
  if (running?.info.url !== model.url) {
    running?.model.close();
    running = null;
    const table = tableOf(model.input, model.card.scale, model.card.offset);
    running = { info: model, model: await Running.open(model, token), table };
    await warmUp(running);
  }
  return { threads: threadsOf(name), files: filesOf(name) };
}

/** The first pictures are slow, as the browser compiles code that it sees used; so they are blank ones. */
async function warmUp({ info, model, table }: Ready): Promise<void> {
  const [width, height] = [640, 480];
  const blank = { data: new Uint8Array(4 * width * height), width, height, channels: 4 };
  for (let i = 0; i < 3; i++) {
    const data = await model.run(toTensor(blank, info.input, table));
    labelsOf({ data, spec: info.output, kind: info.card.output, specks: info.card.specks ?? 0 }, width, height);
  }
}

/** A file's pixels, upright, laid over white and before that. */
async function decode(photo: Blob, maxPixels: number): Promise<Picture> {
  const [file, orientation] = await takeOrientation(photo);
  const picture = await createImageBitmap(file, { imageOrientation: "from-image" }).catch(async () => {
    throw new Fault(await undecodableKind(photo));
  });
  const [w, h] = [picture.width, picture.height];
  const [width, height] = orientation < 5 ? [w, h] : [h, w], scale = Math.min(1, Math.sqrt(maxPixels / (w * h)));
  const plane = pixelsOf(picture, orientation, width, height, scale);
  return { plane, transparent: layOverWhite(plane), original: scale < 1 ? [width, height] : null };
}

/** The format of a file that can't be decoded, by its content: HEIC is often named .jpg. */
async function undecodableKind(photo: Blob): Promise<Word> {
  const head = new TextDecoder("latin1").decode(await photo.slice(0, 1024).arrayBuffer());
  if (/^....ftyp.{0,40}(hei[cxms]|hev[cx]|mif1|msf1)/s.test(head)) return "undecodableHeic";
  return /<svg[\s>]/.test(head) ? "undecodableSvg" : "undecodable";
}

function pixelsOf(picture: Frame, orientation: number, fullWidth: number, fullHeight: number, scale: number): Plane {
  const [width, height] = [fullWidth, fullHeight].map((side) => Math.max(1, Math.floor(side * scale))) as [number, number];
  const canvas = new OffscreenCanvas(width, height);
  const context = canvas.getContext("2d", { willReadFrequently: true })!;
  drawUpright(context, picture, orientation, width, height);
  picture.close();
  const data = new Uint8Array(context.getImageData(0, 0, width, height).data.buffer);
  return { data, width, height, channels: 4 };
}

/** The pixels of a camera's picture, without a canvas if the browser can. */
async function pixelsOfFrame(frame: Frame): Promise<Plane> {
  if (frame instanceof ImageBitmap) return pixelsOf(frame, 1, frame.width, frame.height, 1);
  const [width, height] = [frame.displayWidth, frame.displayHeight], { visibleRect, format } = frame, rgba = { format: "RGBA" } as const;
  const turned = frame as { rotation?: number; flip?: boolean }; // not in TypeScript's library yet
  const asStored = visibleRect?.width === width && visibleRect.height === height && !turned.rotation && !turned.flip;
  // A browser that can't convert ignores the format.
  if (!asStored || !format || format.startsWith("BGR") || frame.allocationSize(rgba) !== 4 * width * height) {
    return pixelsOf(frame, 1, width, height, 1);
  }
  const data = new Uint8Array(4 * width * height);
  await frame.copyTo(data, rgba);
  frame.close();
  return { data, width, height, channels: 4 };
}

interface Segmented {
  readonly scene: Scene;
  readonly timing: Timing;
}

/** Segments in this browser; a camera's frames without tiles, as in Python. */
async function segmentHere(photo: Plane, transparent: Transparent | null, tiled: boolean): Promise<Segmented> {
  if (!running) throw new Fault("broken");
  const { info, model, table } = running, timing = { preprocess: 0, inference: 0, postprocess: 0 };
  const began = performance.now();
  const run = async (picture: Plane): Promise<Scores> => {
    const entered = performance.now(), tensor = toTensor(picture, info.input, table), prepared = performance.now();
    const data = await model.run(tensor);
    timing.preprocess += prepared - entered;
    timing.inference += performance.now() - prepared;
    return { data, spec: info.output, kind: info.card.output, specks: info.card.specks ?? 0 };
  };
  const { scores, labels } = await segmentTiled(photo, tiled ? info.input.size_wh : null, run);
  if (transparent) findSeen(labels, transparent);
  const alpha = softAlpha(labels, photo.width, photo.height);
  const hide = async (): Promise<Bytes> => hidePeople(photo, scores);
  timing.postprocess = performance.now() - began - timing.preprocess - timing.inference;
  return { scene: { photo, transparent, labels, alpha, hide, classes: info.card.classes }, timing };
}

/** Segments on the server. */
async function segmentOnServer(file: Blob, { plane: photo, transparent }: Picture, { url, token, classes, limits }: NonNullable<Where>): Promise<Segmented> {
  const began = performance.now(), size = `${photo.width}×${photo.height}`;
  if (file.size > limits.bytes) throw new Fault("tooManyBytes", { size: megabytes(file.size), limit: megabytes(limits.bytes) });
  if (photo.width * photo.height > limits.pixels) throw new Fault("tooManyPixels", { size, limit: limits.pixels / 1e6 });
  const request = async (output: string): Promise<[Plane, string]> => {
    const waiting = (seconds: number): void => postMessage({ waiting: seconds });
    const response = await ask(`${url}&output=${output}`, token, { method: "POST", body: file }, waiting);
    const { plane } = await decode(await response.blob(), Infinity);
    if (plane.width !== photo.width || plane.height !== photo.height) {
      throw new Fault("otherSize", { got: `${plane.width}×${plane.height}`, size });
    }
    return [plane, response.headers.get("Server-Timing") ?? ""];
  };
  const [{ data, width, height }, stages] = await request("labels");
  const timing: Timing = {};
  for (const [, stage, elapsed] of stages.matchAll(/(\w+);dur=([\d.]+)/g)) timing[stage!] = Number(elapsed);
  const labels = new Uint8Array(width * height);
  for (let i = 0; i < labels.length; i++) labels[i] = data[4 * i]!;
  const alpha = softAlpha(labels, width, height);
  timing["transfer"] = performance.now() - began - Object.values(timing).reduce((sum, value) => sum + value, 0);
  // People that the model is unsure of are hidden too, and aren't in the label map.
  const hide = async (): Promise<Bytes> => (await request("anonymize"))[0].data;
  return { scene: { photo, transparent, labels, alpha, hide, classes }, timing };
}

async function segment(photo: Blob, where: Where): Promise<Segmented & Picture> {
  const began = performance.now();
  const picture = await decode(photo, where ? Infinity : MAX_PIXELS);
  const decoded = performance.now() - began;
  const { scene, timing } = where ? await segmentOnServer(photo, picture, where) : await segmentHere(picture.plane, picture.transparent, true);
  return { ...picture, scene, timing: where ? timing : { decode: decoded, ...timing } };
}

function canvasOf(data: Bytes, width: number, height: number, canvas = new OffscreenCanvas(width, height)): OffscreenCanvas {
  canvas.getContext("2d")!.putImageData(new ImageData(new Uint8ClampedArray(data.buffer), width, height), 0, 0);
  return canvas;
}

function bitmapOf({ data, width, height }: Plane): ImageBitmap {
  if (shown?.width !== width || shown.height !== height) shown = new OffscreenCanvas(width, height);
  return canvasOf(data, width, height, shown).transferToImageBitmap();
}
let shown: OffscreenCanvas | null = null; // one canvas for all of a camera's pictures; it is empty after each

/** The picture of a scene; a background of another size is scaled once for many frames. */
async function painted(scene: Scene, look: Look): Promise<Plane> {
  const { width, height } = scene.photo;
  if (look.effect === "replace" && background) {
    const fitting = fitted?.of === background && fitted.plane.width === width && fitted.plane.height === height;
    if (!fitting) fitted = { of: background, plane: cover(background, width, height) };
  }
  return { data: await paint(scene, look, background && fitted && fitted.plane), width, height, channels: 4 };
}
let fitted: { of: Plane; plane: Plane } | null = null;

async function found({ scene, timing }: Segmented, look: Look, photo: ImageBitmap | null, original: Picture["original"]): Promise<Found> {
  const began = performance.now();
  const picture = bitmapOf(await painted(scene, look));
  last = scene;
  const { width, height } = scene.photo;
  return {
    size: [width, height], original, photo, picture,
    shares: sharesOf(scene.labels, scene.classes.length), timing: { ...timing, paint: performance.now() - began },
  };
}

async function save(scene: Scene, look: Look, type: string): Promise<Blob> {
  const { data, width, height } = await painted(scene, look);
  return marked(await canvasOf(data, width, height).convertToBlob({ type, quality: 0.95 }));
}

async function thumbnail(photo: Blob): Promise<ImageBitmap> {
  const { plane } = await decode(photo, MAX_PIXELS);
  const scale = Math.min(1, THUMBNAIL / Math.min(plane.width, plane.height));
  return createImageBitmap(canvasOf(plane.data, plane.width, plane.height), {
    resizeWidth: Math.max(1, Math.round(plane.width * scale)), resizeHeight: Math.max(1, Math.round(plane.height * scale)),
    resizeQuality: "medium",
  });
}

async function handle(request: Request): Promise<unknown> {
  switch (request.kind) {
    case "load":
      return load(request);
    case "thumbnail":
      return thumbnail(request.photo);
    case "background":
      background = request.picture && (await decode(request.picture, MAX_BACKGROUND_PIXELS)).plane;
      return null;
    case "segment": {
      last = null;
      const result = await segment(request.photo, request.where);
      return found(result, request.look, bitmapOf(result.plane), result.original);
    }
    case "frame": {
      const { frame } = request, began = performance.now();
      const plane = await pixelsOfFrame(frame);
      const decoded = performance.now() - began, { scene, timing } = await segmentHere(plane, null, false);
      return found({ scene, timing: { decode: decoded, ...timing } }, request.look, null, null);
    }
    case "make":
      return save((await segment(request.photo, request.where)).scene, request.look, request.type);
  }
  if (!last) throw new Fault("broken");
  if (request.kind === "paint") return bitmapOf(await painted(last, request.look));
  if (request.kind === "save") return save(last, request.look, request.type);
  return marked(await greyPng(last.labels, last.photo.width, last.photo.height));
}

// One after another: a model can't be replaced while it runs.
let turn = Promise.resolve();
self.onmessage = ({ data: { id, request } }: MessageEvent<{ id: number; request: Request }>) => {
  turn = turn.then(async () => {
    try {
      const value = await handle(request);
      const pictures = [value, ...Object.values(value ?? {})].filter((part) => part instanceof ImageBitmap);
      postMessage({ id, value }, { transfer: pictures as Transferable[] });
    } catch (error) {
      const { word, values } = error instanceof Fault ? error : new Fault("broken");
      if (!(error instanceof Fault)) console.error(error);
      postMessage({ id, error: { word, values, locked: error instanceof Locked } });
    }
  });
};
