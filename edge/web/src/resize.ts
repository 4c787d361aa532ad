/**
 * Resizing as OpenCV does it, to the last bit, so that a picture means the same to a model here and in Python.
 *
 * The arithmetic is that of OpenCV's `modules/imgproc/src/resize.cpp`: for bytes, bilinear weights are whole 2048ths and
 * each of the two sums is cut off, not rounded; areas are summed in 32-bit floats, along the row first.
 */

import { halved, stretched, type Steps } from "./kernels.ts";

export type Bytes = Uint8Array<ArrayBuffer>;
export type Floats = Float32Array<ArrayBuffer>;
export type Numbers = Bytes | Floats;

/** The numbers of a picture, row by row, with the `channels` of a pixel together. */
export interface Plane<Kind extends Numbers = Bytes> {
  readonly data: Kind;
  readonly width: number;
  readonly height: number;
  readonly channels: number;
}

/** For each position along a side: the two positions it lies between, and how near it is to the second. */
interface Places {
  readonly first: Int32Array;
  readonly second: Int32Array;
  readonly share: Float32Array;
}

const ONE = 2048; // INTER_RESIZE_COEF_SCALE

function placesOf(from: number, to: number): Places {
  const scale = 1 / (to / from);
  const first = new Int32Array(to), second = new Int32Array(to), share = new Float32Array(to);
  for (let i = 0; i < to; i++) {
    const position = Math.fround((i + 0.5) * scale - 0.5);
    const before = Math.floor(position);
    first[i] = Math.min(Math.max(before, 0), from - 1);
    second[i] = Math.min(Math.max(before + 1, 0), from - 1);
    share[i] = position - before;
  }
  return { first, second, share };
}

/** The same for the kernels, in 2048ths, for rows of pixels of `channels` bytes; where both are the same, the first has all. */
export function stepsOf(from: number, to: number, channels: number | null): Steps {
  const { first, second, share } = placesOf(from, to), steps = new Int32Array(3 * to);
  for (let i = 0; i < to; i++) {
    const weight = channels && first[i] === second[i] ? 0 : share[i]!;
    steps[3 * i] = first[i]! * (channels ?? 1);
    steps[3 * i + 1] = second[i]! * (channels ?? 1);
    steps[3 * i + 2] = round(Math.fround(1 - weight) * ONE) | (round(weight * ONE) << 16);
  }
  return steps;
}

/** `cvRound`: to the nearest integer, halves to even. */
export function round(value: number): number {
  const floor = Math.floor(value), rest = value - floor;
  return rest < 0.5 || (rest === 0.5 && floor % 2 === 0) ? floor : floor + 1;
}

/** Bytes resized bilinearly (`INTER_LINEAR`). */
export function bilinear(picture: Plane, width: number, height: number): Plane {
  const { channels } = picture;
  if (picture.width === width && picture.height === height) return picture;
  if (picture.width === 2 * width && picture.height === 2 * height) return halve(picture); // as OpenCV does
  const across = stepsOf(picture.width, width, channels), down = stepsOf(picture.height, height, null);
  return { data: stretched(picture.data, picture.width * channels, channels, across, down, false), width, height, channels };
}

/** `halve(bilinear(picture, width, height))`, if possible without copying the picture in between. */
export function bilinearHalved(picture: Plane, width: number, height: number): Plane {
  const { channels } = picture;
  const isWhole = picture.width % width === 0 && picture.height % height === 0;
  if (isWhole || channels !== 4) return halve(bilinear(picture, width, height));
  const across = stepsOf(picture.width, width, channels), down = stepsOf(picture.height, height, null);
  const data = stretched(picture.data, picture.width * channels, channels, across, down, true);
  return { data, width: width / 2, height: height / 2, channels };
}

/** Means of 2x2 pixels; both sides must be even. */
export function halve(picture: Plane): Plane {
  const { data, channels } = picture, width = picture.width >> 1, height = picture.height >> 1;
  if (channels === 4) return { data: halved(data, picture.width, picture.height), width, height, channels };
  const stride = picture.width * channels;
  const result = new Uint8Array(width * height * channels);
  for (let y = 0, at = 0; y < height; y++) {
    let a = 2 * y * stride;
    for (let x = 0; x < width; x++, a += channels) {
      for (let c = 0; c < channels; c++, a++, at++) {
        result[at] = (data[a]! + data[a + channels]! + data[a + stride]! + data[a + stride + channels]! + 2) >> 2;
      }
    }
  }
  return { data: result, width, height, channels };
}

/** Bytes of four channels as one number a pixel. */
export function pixelsOf(data: Bytes): Uint32Array<ArrayBuffer> {
  return new Uint32Array(data.buffer, data.byteOffset, data.length >> 2);
}

/** Which positions of the long side a position of the short one covers, and with which share. */
interface Cover {
  readonly from: Int32Array;
  readonly to: Int32Array;
  readonly weight: Float32Array;
  readonly length: number;
}

/** `computeResizeAreaTab`. */
function areaCover(from: number, to: number): Cover {
  const scale = 1 / (to / from);
  const sources: number[] = [], targets: number[] = [], weights: number[] = [];
  const add = (source: number, target: number, weight: number): void => {
    sources.push(source);
    targets.push(target);
    weights.push(weight);
  };
  for (let i = 0; i < to; i++) {
    const start = i * scale, end = start + scale;
    const cell = Math.min(scale, from - start);
    const last = Math.min(Math.floor(end), from - 1), first = Math.min(Math.ceil(start), last);
    if (first - start > 1e-3) add(first - 1, i, (first - start) / cell);
    for (let k = first; k < last; k++) add(k, i, 1 / cell);
    if (end - last > 1e-3) add(last, i, Math.min(Math.min(end - last, 1), cell) / cell);
  }
  return {
    from: Int32Array.from(sources), to: Int32Array.from(targets), weight: Float32Array.from(weights),
    length: sources.length,
  };
}

/** Bytes averaged by area (`INTER_AREA`); neither side may grow. */
export function byArea(picture: Plane, width: number, height: number): Plane {
  const { data, channels } = picture;
  if (picture.width === width && picture.height === height) return picture;
  if (picture.width % width === 0 && picture.height % height === 0) {
    return byWholeArea(picture, picture.width / width, picture.height / height);
  }
  const across = areaCover(picture.width, width), down = areaCover(picture.height, height);
  const row = width * channels;
  const result = new Uint8Array(row * height), sum = new Float32Array(row), line = new Float32Array(row);
  for (let j = 0; j < down.length; j++) {
    const start = down.from[j]! * picture.width * channels, target = down.to[j]!, weight = down.weight[j]!;
    for (let c = 0; c < channels; c++) {
      for (let k = 0; k < across.length; ) {
        const cell = across.to[k]!;
        let mean = 0;
        for (; k < across.length && across.to[k] === cell; k++) {
          mean = Math.fround(mean + Math.fround(data[start + across.from[k]! * channels + c]! * across.weight[k]!));
        }
        line[cell * channels + c] = mean;
      }
    }
    if (j > 0 && down.to[j - 1] === target) {
      for (let i = 0; i < row; i++) sum[i] = sum[i]! + Math.fround(weight * line[i]!);
    } else {
      for (let i = 0; i < row; i++) sum[i] = weight * line[i]!;
    }
    if (j + 1 === down.length || down.to[j + 1] !== target) {
      for (let i = 0; i < row; i++) result[target * row + i] = round(sum[i]!);
    }
  }
  return { data: result, width, height, channels };
}

function byWholeArea(picture: Plane, across: number, down: number): Plane {
  if (across === 2 && down === 2) return halve(picture);
  const { data, channels } = picture;
  const width = picture.width / across, height = picture.height / down;
  const result = new Uint8Array(width * height * channels);
  const share = Math.fround(1 / (across * down));
  for (let y = 0, at = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      for (let c = 0; c < channels; c++, at++) {
        let sum = 0;
        for (let j = 0; j < down; j++) {
          const start = ((y * down + j) * picture.width + x * across) * channels + c;
          for (let i = 0; i < across; i++) sum += data[start + i * channels]!;
        }
        result[at] = round(Math.fround(sum * share));
      }
    }
  }
  return { data: result, width, height, channels };
}

/**
 * 32-bit floats resized bilinearly. Only here OpenCV's own result differs from machine to machine, in the last bits of a
 * float: on x86 it is computed by Intel's IPP.
 */
export function bilinearFloats(picture: Plane<Floats>, width: number, height: number): Plane<Floats> {
  const { data, channels } = picture;
  if (picture.width === width && picture.height === height) return picture;
  const across = placesOf(picture.width, width), down = placesOf(picture.height, height);
  const row = width * channels;
  const result = new Float32Array(row * height);
  for (let y = 0, at = 0; y < height; y++) {
    const above = down.first[y]! * picture.width * channels, below = down.second[y]! * picture.width * channels;
    const lower = down.share[y]!;
    for (let x = 0; x < width; x++) {
      const a = across.first[x]! * channels, b = across.second[x]! * channels, right = across.share[x]!;
      for (let c = 0; c < channels; c++, at++) {
        const upperMean = data[above + a + c]! * (1 - right) + data[above + b + c]! * right;
        const lowerMean = data[below + a + c]! * (1 - right) + data[below + b + c]! * right;
        result[at] = upperMean * (1 - lower) + lowerMean * lower;
      }
    }
  }
  return { data: result, width, height, channels };
}
