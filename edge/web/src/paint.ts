/** Pictures of a segmentation: `seg_edge/effects.py` in the browser. */

import type { ClassInfo } from "./api.ts";
import { foregroundColour, paste, runsOf } from "./matte.ts";
import { resizeNear, shrink } from "./preprocess.ts";
import { bilinear, byArea, pixelsOf, round, type Bytes, type Floats, type Plane } from "./resize.ts";
import { keepTransparent, type Transparent } from "./transparency.ts";

export const EFFECTS = ["cutout", "blur", "replace", "anonymize", "overlay", "mask"] as const;
export type Effect = (typeof EFFECTS)[number];
export type Colour = readonly [number, number, number];

/** The effect and its colour. */
export interface Look {
  readonly effect: Effect;
  /** The background for `replace` if there is no picture. */
  readonly colour: Colour;
}

/** A photo and its segmentation, all of the same size. */
export interface Scene {
  /** RGBA. */
  readonly photo: Plane;
  /** The photo before it was laid over white; null if it is opaque. */
  readonly transparent: Transparent | null;
  readonly labels: Bytes;
  /** How much of each pixel is foreground, 255 for all. */
  readonly alpha: Bytes;
  readonly classes: readonly ClassInfo[];
  /** The photo with its people hidden, RGBA. */
  readonly hide: () => Promise<Bytes>;
}

const OVERLAY_OPACITY = 0.5;
const BLUR_SHARE = 1 / 40; // of the longer side

/** Scales and crops a picture at its centre so that it fills the size, as `cover` in Python. */
export function cover(picture: Plane, width: number, height: number): Plane {
  if (picture.width === width && picture.height === height) return picture;
  const scale = Math.max(height / picture.height, width / picture.width);
  const h = Math.max(1, round(height / scale)), w = Math.max(1, round(width / scale));
  const top = (picture.height - h) >> 1, left = (picture.width - w) >> 1;
  const data = new Uint8Array(4 * w * h);
  for (let y = 0; y < h; y++) {
    const start = 4 * ((top + y) * picture.width + left);
    data.set(picture.data.subarray(start, start + 4 * w), 4 * y * w);
  }
  const crop = { data, width: w, height: h, channels: 4 };
  return resizeNear(crop, width, height);
}

/** One side of OpenCV's Gaussian kernel of floats for a standard deviation. */
function kernelOf(sigma: number): Float32Array {
  const size = Math.round(8 * sigma + 1) | 1, middle = size >> 1;
  const kernel = Float32Array.from({ length: size }, (_, i) => Math.exp(-((i - middle) ** 2) / (2 * sigma * sigma)));
  const sum = kernel.reduce((total, value) => total + value, 0);
  return kernel.map((value) => value / sum);
}

/** A Gaussian blur of four channels; at the sides the picture is mirrored without its outermost pixel (`BORDER_REFLECT_101`). */
function gaussian(picture: Plane<Floats>, sigma: number): Plane<Floats> {
  const { width, height } = picture, kernel = kernelOf(sigma), middle = kernel.length >> 1;
  const inside = (position: number, length: number): number => {
    if (length === 1) return 0;
    const period = 2 * (length - 1), at = ((position % period) + period) % period;
    return at < length ? at : period - at;
  };
  const pass = (from: Floats, length: number, lines: number, step: number, across: number): Floats => {
    const to = new Float32Array(from.length);
    const places = Int32Array.from({ length: length + kernel.length - 1 }, (_, i) => step * inside(i - middle, length));
    for (let line = 0; line < lines; line++) {
      for (let i = 0, start = line * across; i < length; i++) {
        let red = 0, green = 0, blue = 0, share = 0;
        for (let k = 0; k < kernel.length; k++) {
          const weight = kernel[k]!, at = start + places[i + k]!;
          red = Math.fround(red + weight * from[at]!);
          green = Math.fround(green + weight * from[at + 1]!);
          blue = Math.fround(blue + weight * from[at + 2]!);
          share = Math.fround(share + weight * from[at + 3]!);
        }
        const at = start + i * step;
        [to[at], to[at + 1], to[at + 2], to[at + 3]] = [red, green, blue, share];
      }
    }
    return to;
  };
  const rows = pass(picture.data, width, height, 4, width * 4);
  return { ...picture, data: pass(rows, height, width, width * 4, 4) };
}

/** The background blurred, at the photo's size; the foreground does not bleed into it. */
function blurredBackground({ photo, alpha }: Scene): Bytes {
  const { width, height } = photo, spread = BLUR_SHARE * Math.max(height, width);
  const scale = Math.min(8, Math.max(1, Math.floor(spread / 2))), sigma = Math.max(0.5, spread / scale);
  const w = Math.max(1, Math.floor(width / scale)), h = Math.max(1, Math.floor(height / scale));
  const covered = byArea({ data: alpha, width, height, channels: 1 }, w, h).data;
  const small = scale === 1 ? photo.data : shrink(photo, w, h).data;
  const weighted = new Float32Array(4 * w * h); // the fourth channel is the weight itself
  for (let i = 0, at = 0; i < covered.length; i++, at += 4) {
    const weight = Math.max(1 - covered[i]! / 255, 1e-3);
    for (let c = 0; c < 3; c++) weighted[at + c] = small[at + c]! * weight;
    weighted[at + 3] = weight;
  }
  const { data } = gaussian({ data: weighted, width: w, height: h, channels: 4 }, sigma);
  const mean = new Uint8Array(data.length).fill(255);
  for (let at = 0; at < data.length; at += 4) {
    for (let c = 0; c < 3; c++) mean[at + c] = Math.min(Math.max(data[at + c]! / data[at + 3]!, 0), 255);
  }
  return bilinear({ data: mean, width: w, height: h, channels: 4 }, width, height).data;
}

function cutout(photo: Plane, alpha: Bytes): Bytes {
  const { width } = photo, data = new Uint8Array(photo.data.length), colour = new Uint8Array(3), runs = runsOf(alpha, width);
  const colourAt = foregroundColour(photo, alpha);
  const source = pixelsOf(photo.data), target = pixelsOf(data);
  for (let i = 0; i < runs.length; i += 2) { // elsewhere all is transparent, and black
    const y = Math.floor(runs[i]! / width), end = runs[i + 1]!;
    for (let at = runs[i]!; at < end; at++) {
      if (alpha[at] === 255) {
        const start = at;
        while (at + 1 < end && alpha[at + 1] === 255) at++;
        target.set(source.subarray(start, at + 1), start);
        continue;
      }
      colourAt(at - y * width, y, colour);
      for (let c = 0; c < 3; c++) data[4 * at + c] = colour[c]!;
      data[4 * at + 3] = alpha[at]!;
    }
  }
  return data;
}

function overlay({ photo, labels, alpha, classes }: Scene): Bytes {
  const { width, height } = photo, data = photo.data.slice(), runs = runsOf(alpha, width);
  const tints = classes.map(({ colour }) => colour.map((value) => OVERLAY_OPACITY * value));
  const halves = Uint8Array.from({ length: 256 }, (_, value) => round(value * (1 - OVERLAY_OPACITY)));
  const whole = tints.map((tint) => tint.map(round));
  for (let i = 0; i < runs.length; i += 2) {
    const y = Math.floor(runs[i]! / width), end = runs[i + 1]!;
    for (let at = runs[i]!; at < end; at++) {
      const share = alpha[at]!;
      if (share === 255) {
        const tint = whole[labels[at]!]!;
        for (let c = 0; c < 3; c++) data[4 * at + c] = halves[data[4 * at + c]!]! + tint[c]!;
        continue;
      }
      // The outer half of a soft edge is background; it gets the tint of the class next to it.
      let label = 0;
      const x = at - y * width;
      for (let j = Math.max(0, y - 1); j <= Math.min(height - 1, y + 1); j++) {
        for (let k = Math.max(0, x - 1); k <= Math.min(width - 1, x + 1); k++) label = Math.max(label, labels[j * width + k]!);
      }
      for (let c = 0; c < 3; c++) {
        const value = 4 * at + c;
        data[value] = round(data[value]! * (1 - OVERLAY_OPACITY * (share / 255)) + tints[label]![c]! * (share / 255));
      }
    }
  }
  return data;
}

function mask({ labels, classes }: Scene): Bytes {
  const colours = classes.map(({ colour: [red, green, blue] }) => (red | (green << 8) | (blue << 16) | (255 << 24)) >>> 0);
  const data = new Uint8Array(4 * labels.length), pixels = new Uint32Array(data.buffer), table = Uint32Array.from(colours);
  for (let i = 0; i < labels.length; i++) pixels[i] = table[labels[i]!]!;
  return data;
}

function filled([red, green, blue]: Colour, count: number): Bytes {
  const data = new Uint8Array(4 * count);
  new Uint32Array(data.buffer).fill((red | (green << 8) | (blue << 16) | (255 << 24)) >>> 0);
  return data;
}

/**
 * The picture of a scene, RGBA.
 *
 * @param background For `replace`; of any size.
 */
export async function paint(scene: Scene, { effect, colour }: Look, background: Plane | null): Promise<Bytes> {
  const { photo, alpha, transparent } = scene;
  if (effect === "cutout") {
    const picture = cutout(transparent?.colour ?? photo, alpha);
    if (transparent) keepTransparent(picture, transparent);
    return picture;
  }
  if (effect === "overlay") return overlay(scene);
  if (effect === "mask") return mask(scene);
  if (effect === "anonymize") return scene.hide();
  if (effect === "blur") return paste(blurredBackground(scene), photo, alpha, false);
  const below = background ? cover(background, photo.width, photo.height).data.slice() : filled(colour, alpha.length);
  if (!transparent) return paste(below, photo, alpha, true);
  const data = cutout(transparent.colour, alpha);
  return paste(below, { ...photo, data }, keepTransparent(data, transparent), false);
}
