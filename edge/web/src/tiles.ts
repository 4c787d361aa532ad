/** Large and long photos in tiles: `seg_edge/tiling.py` in the browser, equal to it. */

import { labelsOf, upsample, type Scores } from "./postprocess.ts";
import { round, type Bytes, type Numbers, type Plane } from "./resize.ts";

const LONG = 2, LARGE = 4, FOUND = 0.1, AUTO_TILES = 4, MAX_TILES = 100;

/** The result for a photo. */
export interface Labelled {
  readonly scores: Scores;
  /** At the photo's size. */
  readonly labels: Bytes;
}

/**
 * Segments a photo, in tiles where that finds more.
 *
 * @param inputSize The model's; null for no tiles.
 * @param run The scores of a picture of any size.
 */
export async function segmentTiled(
  photo: Plane, inputSize: readonly number[] | null, run: (picture: Plane) => Promise<Scores>,
): Promise<Labelled> {
  const { width, height } = photo, long = Math.max(width, height), short = Math.min(width, height);
  const labelled = (scores: Scores): Labelled => ({ scores, labels: labelsOf(scores, width, height) });
  if (inputSize && long > LONG * short) {
    return labelled(await inTiles(photo, Math.min(MAX_TILES, Math.ceil((2 * long) / short) - 1), null, run));
  }
  const whole = labelled(await run(photo));
  if (!inputSize || short < LARGE * Math.max(...inputSize)) return whole;
  const found = whole.labels.reduce((count, label) => count + (label ? 1 : 0), 0);
  return found < FOUND * width * height ? labelled(await inTiles(photo, AUTO_TILES, whole.scores, run)) : whole;
}

async function inTiles(
  photo: Plane, count: number, whole: Scores | null, run: (picture: Plane) => Promise<Scores>,
): Promise<Scores> {
  const step = Math.max(photo.width, photo.height) / (count + 1);
  const along = (side: number): number => Math.max(1, round(side / step) - 1);
  const rows = along(photo.height), columns = along(photo.width);
  let merged: Merged | null = null;
  for (let row = 0; row < rows; row++) {
    for (let column = 0; column < columns; column++) {
      const [top, bottom] = part(row, rows, photo.height), [left, right] = part(column, columns, photo.width);
      const scores = await run(crop(photo, left, top, right, bottom));
      merged ??= new Merged(scores, rows, columns);
      merged.add(scores, row, column);
    }
  }
  return merged!.scores(whole);
}

/** The extent of tile `at` of `count` along a side: a tile covers two steps. */
function part(at: number, count: number, side: number): [number, number] {
  const start = Math.min(round((at * side) / (count + 1)), side - 1);
  return [start, Math.max(round(((at + 2) * side) / (count + 1)), start + 1)];
}

function crop({ data, width }: Plane, left: number, top: number, right: number, bottom: number): Plane {
  const source = new Uint32Array(data.buffer, data.byteOffset), w = right - left, pixels = new Uint32Array(w * (bottom - top));
  for (let y = top; y < bottom; y++) pixels.set(source.subarray(y * width + left, y * width + right), (y - top) * w);
  return { data: new Uint8Array(pixels.buffer), width: w, height: bottom - top, channels: 4 };
}

/** Weights along a tile, highest in its middle and never 0; in 32-bit floats, like everything that follows. */
function tent(length: number): Float32Array {
  return Float32Array.from({ length }, (_, i) => 1 - Math.abs(Math.fround(Math.fround((i + 0.5) * 2 / length) - 1)));
}

/** The scores of overlapping tiles, averaged. */
class Merged {
  private readonly half: readonly [number, number]; // of a tile, width and height
  private readonly width: number;
  private readonly height: number;
  private readonly total: Float32Array;
  private readonly weights: Float32Array;

  constructor(private readonly like: Scores, rows: number, columns: number) {
    const [w, h] = like.spec.size_wh;
    this.half = [(w + 1) >> 1, (h + 1) >> 1];
    [this.width, this.height] = [this.half[0] * (columns + 1), this.half[1] * (rows + 1)];
    this.weights = new Float32Array(this.width * this.height);
    this.total = new Float32Array(this.weights.length * like.spec.channels);
  }

  add(scores: Scores, row: number, column: number): void {
    const [w, h] = this.half, { channels } = this.like.spec;
    const stored = upsample(scores, 2 * w, 2 * h), across = tent(2 * w), down = tent(2 * h);
    for (let y = 0, from = 0; y < 2 * h; y++) {
      for (let x = 0, at = (row * h + y) * this.width + column * w; x < 2 * w; x++, at++) {
        const weight = Math.fround(down[y]! * across[x]!);
        this.weights[at]! += weight;
        for (let c = 0, to = at * channels; c < channels; c++, from++, to++) {
          this.total[to]! += Math.fround(stored[from]! * weight);
        }
      }
    }
  }

  /** The score map, or where it has more foreground that of the whole photo, in the model's numbers. */
  scores(whole: Scores | null): Scores {
    const { width, height, like: { spec, kind, specks, data: { constructor } } } = this, { channels } = spec;
    const mean = this.total.map((value, i) => value / this.weights[Math.floor(i / channels)]!);
    if (whole) {
      const stored = upsample(whole, width, height);
      for (let at = 0; at < mean.length; at += channels) {
        if (foreground(stored, at, channels) > foreground(mean, at, channels)) mean.set(stored.subarray(at, at + channels), at);
      }
    }
    const data = constructor === Float32Array ? mean : Uint8Array.from(mean, round);
    return { data, kind, specks, spec: { ...spec, size_wh: [width, height] } };
  }
}

function foreground(stored: Numbers, at: number, channels: number): number {
  if (channels === 1) return stored[at]!;
  let most = -Infinity;
  for (let c = 1; c < channels; c++) most = Math.max(most, stored[at + c]!);
  return Math.fround(most - stored[at]!);
}
