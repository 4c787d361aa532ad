/** Pictures of an answer: `seg_edge/render.py` in the browser. */

import type { ClassInfo } from "./api.ts";
import { shrink } from "./preprocess.ts";
import { bilinear, byArea, type Bytes, type Floats, type Plane } from "./resize.ts";

export const EFFECTS = ["cutout", "blur", "replace", "anonymize", "overlay", "mask"] as const;
export type Effect = (typeof EFFECTS)[number];
export type Colour = readonly [number, number, number];

/** What is painted how. */
export interface Look {
  readonly effect: Effect;
  /** Behind the people, for `replace`, where there is no picture. */
  readonly colour: Colour;
}

/** A photo and what was found in it, all of one size. */
export interface Scene {
  /** RGBA. */
  readonly photo: Plane;
  readonly labels: Bytes;
  /** How much of each pixel is foreground, 255 for all. */
  readonly alpha: Bytes;
  readonly classes: readonly ClassInfo[];
}

const OVERLAY_OPACITY = 0.5;
const BLUR_SHARE = 1 / 40; // of the longer side

/** value / 255 to the nearest whole number, for value of 0 to 255 * 255. */
function over255(value: number): number {
  return (value + 128 + ((value + 128) >> 8)) >> 8;
}

/** Turns `below` into `above` over it by alpha; both RGBA, of one size. */
function blend(below: Bytes, above: Bytes, alpha: Bytes): Bytes {
  for (let i = 0, at = 0; i < alpha.length; i++, at += 4) {
    const weight = alpha[i]!;
    if (weight === 0) continue;
    for (let c = at; c < at + 3; c++) {
      below[c] = Math.min(over255(below[c]! * (255 - weight)) + over255(above[c]! * weight), 255);
    }
  }
  return below;
}

/** Scales and crops a picture at its centre so that it fills the size, as `cover` in Python. */
export function cover(picture: Plane, width: number, height: number): Plane {
  if (picture.width === width && picture.height === height) return picture;
  const scale = Math.max(height / picture.height, width / picture.width);
  const h = Math.max(1, Math.round(height / scale)), w = Math.max(1, Math.round(width / scale));
  const top = (picture.height - h) >> 1, left = (picture.width - w) >> 1;
  const data = new Uint8Array(4 * w * h);
  for (let y = 0; y < h; y++) {
    const start = 4 * ((top + y) * picture.width + left);
    data.set(picture.data.subarray(start, start + 4 * w), 4 * y * w);
  }
  const crop = { data, width: w, height: h, channels: 4 };
  return scale < 1 && w >= width && h >= height ? byArea(crop, width, height) : bilinear(crop, width, height);
}

/** One side of OpenCV's Gaussian kernel of floats for a standard deviation. */
function kernelOf(sigma: number): Float32Array {
  const size = Math.round(8 * sigma + 1) | 1, middle = size >> 1;
  const kernel = Float32Array.from({ length: size }, (_, i) => Math.exp(-((i - middle) ** 2) / (2 * sigma * sigma)));
  const sum = kernel.reduce((total, value) => total + value, 0);
  return kernel.map((value) => value / sum);
}

/** A Gaussian blur; at the sides the picture is mirrored without its outermost pixel (`BORDER_REFLECT_101`). */
function gaussian(picture: Plane<Floats>, sigma: number): Plane<Floats> {
  const { width, height, channels } = picture, kernel = kernelOf(sigma), middle = kernel.length >> 1;
  const inside = (place: number, length: number): number => {
    if (length === 1) return 0;
    const period = 2 * (length - 1), at = ((place % period) + period) % period;
    return at < length ? at : period - at;
  };
  const pass = (from: Floats, length: number, lines: number, step: number, across: number): Floats => {
    const to = new Float32Array(from.length);
    for (let i = 0; i < length; i++) {
      for (let k = 0; k < kernel.length; k++) {
        const weight = kernel[k]!, source = inside(i + k - middle, length);
        for (let line = 0; line < lines; line++) {
          const a = line * across + i * step, b = line * across + source * step;
          for (let c = 0; c < channels; c++) to[a + c] = to[a + c]! + weight * from[b + c]!;
        }
      }
    }
    return to;
  };
  const rows = pass(picture.data, width, height, channels, width * channels);
  return { width, height, channels, data: pass(rows, height, width, width * channels, channels) };
}

/** The background blurred, at the photo's size; the foreground does not bleed into it. */
function blurredBackground({ photo, alpha }: Scene): Plane {
  const { width, height } = photo;
  const w = Math.max(1, width >> 3), h = Math.max(1, height >> 3);
  const covered = byArea({ data: alpha, width, height, channels: 1 }, w, h).data, small = shrink(photo, w, h).data;
  const weighted = new Float32Array(4 * w * h); // the fourth channel is the weight itself
  for (let i = 0, at = 0; i < covered.length; i++, at += 4) {
    const weight = Math.max(1 - covered[i]! / 255, 1e-3);
    for (let c = 0; c < 3; c++) weighted[at + c] = small[at + c]! * weight;
    weighted[at + 3] = weight;
  }
  const { data } = gaussian({ data: weighted, width: w, height: h, channels: 4 }, Math.max(1, BLUR_SHARE * Math.max(w, h)));
  const mean = new Uint8Array(data.length).fill(255);
  for (let at = 0; at < data.length; at += 4) {
    for (let c = 0; c < 3; c++) mean[at + c] = Math.min(Math.max(data[at + c]! / data[at + 3]!, 0), 255);
  }
  return bilinear({ data: mean, width: w, height: h, channels: 4 }, width, height);
}

function cutout({ photo, alpha }: Scene): Bytes {
  const data = new Uint8Array(photo.data.length);
  for (let i = 0, at = 0; i < alpha.length; i++, at += 4) {
    if (alpha[i] === 0) continue; // no colour where nothing is to be seen
    data.set(photo.data.subarray(at, at + 3), at);
    data[at + 3] = alpha[i]!;
  }
  return data;
}

function overlay({ photo, labels, alpha, classes }: Scene): Bytes {
  const edge = classes.length === 2 ? 1 : 0; // whose soft edge reaches into the background; of several nobody knows
  const tint = new Uint8Array(photo.data.length);
  const weight = alpha.map((value, i) => (labels[i]! || edge ? Math.round(value * OVERLAY_OPACITY) : 0));
  for (let i = 0, at = 0; i < alpha.length; i++, at += 4) {
    if (weight[i]) tint.set(classes[labels[i]! || edge]!.colour, at);
  }
  return blend(photo.data.slice(), tint, weight);
}

function mask({ labels, classes }: Scene): Bytes {
  const colours = Uint32Array.from(classes, ({ colour: [red, green, blue] }) => (red | (green << 8) | (blue << 16) | (255 << 24)) >>> 0);
  return new Uint8Array(Uint32Array.from(labels, (label) => colours[label]!).buffer);
}

/**
 * The picture of a scene, RGBA.
 *
 * @param background Behind the people, for `replace`; of any size.
 */
export function paint(scene: Scene, { effect, colour }: Look, background: Plane | null): Bytes {
  const { photo, alpha } = scene;
  if (effect === "cutout") return cutout(scene);
  if (effect === "overlay") return overlay(scene);
  if (effect === "mask") return mask(scene);
  if (effect === "blur") return blend(blurredBackground(scene).data, photo.data, alpha);
  if (effect === "replace") {
    const below = background ? cover(background, photo.width, photo.height).data.slice() : new Uint8Array(photo.data.length);
    if (!background) new Uint32Array(below.buffer).fill((colour[0] | (colour[1] << 8) | (colour[2] << 16) | (255 << 24)) >>> 0);
    return blend(below, photo.data, alpha);
  }
  return blend(photo.data.slice(), bilinear(shrink(photo, 8, 8), photo.width, photo.height).data, alpha);
}
