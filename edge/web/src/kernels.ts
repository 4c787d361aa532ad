/** The inner loops of `../kernels/kernels.ts`, called with arrays. */

import binary from "../kernels/kernels.wasm";
import type { Bytes } from "./resize.ts";

interface Exports extends WebAssembly.Exports {
  readonly memory: WebAssembly.Memory;
  bilinear(
    source: number, stride: number, channels: number, width: number, height: number, across: number, down: number, rows: number, out: number,
  ): void;
  halve(source: number, width: number, height: number, out: number): void;
  keepBest(best: number, scores: number, labels: number, label: number, count: number): void;
  softAlpha(labels: number, width: number, height: number, line: number, out: number): void;
}

/** What the kernels need to resize along a side: for each position two offsets, and two weights in one number. */
export type Steps = Int32Array<ArrayBuffer>;

const PAGE = 65_536, SLACK = 32;
const KEPT = 64 * 2 ** 20; // memory can't shrink, so after large photos all of it is released
let module: WebAssembly.Module | null = null; // compiled on first use: old browsers can't, and have shown a message by then
let kernels: Exports | null = null;

/** The kernels, and addresses of blocks of memory for this one call. */
function reserve(...sizes: number[]): { run: Exports; at: number[] } {
  module ??= new WebAssembly.Module(binary);
  if (!kernels || kernels.memory.buffer.byteLength > KEPT) kernels = new WebAssembly.Instance(module).exports as Exports;
  let end = 0; // the module has no static data
  const at = sizes.map((size) => {
    const start = (end + 15) & ~15;
    end = start + size + SLACK;
    return start;
  });
  const missing = end - kernels.memory.buffer.byteLength;
  if (missing > 0) kernels.memory.grow(Math.ceil(missing / PAGE));
  return { run: kernels, at };
}

function put(run: Exports, at: number, data: Bytes | Steps): void {
  new Uint8Array(run.memory.buffer).set(new Uint8Array(data.buffer, data.byteOffset, data.byteLength), at);
}

function taken(run: Exports, at: number, length: number): Bytes {
  return new Uint8Array(run.memory.buffer).slice(at, at + length);
}

/** Means of 2x2 pixels of four bytes. */
export function halved(data: Bytes, width: number, height: number): Bytes {
  const { run, at } = reserve(data.length, data.length >> 2);
  const [source, out] = at as [number, number];
  put(run, source, data);
  run.halve(source, width, height, out);
  return taken(run, out, data.length >> 2);
}

/** Rows of `stride` bytes resized bilinearly, with a position for each step; `half` then averages 2x2 pixels of four bytes. */
export function stretched(data: Bytes, stride: number, channels: number, across: Steps, down: Steps, half: boolean): Bytes {
  const width = across.length / 3, height = down.length / 3, count = width * channels;
  const { run, at } = reserve(data.length, across.byteLength, down.byteLength, 4 * count + 64, count * height);
  const [source, acrossAt, downAt, rows, out] = at as [number, number, number, number, number];
  put(run, source, data);
  put(run, acrossAt, across);
  put(run, downAt, down);
  run.bilinear(source, stride, channels, width, height, acrossAt, downAt, rows, out);
  if (!half) return taken(run, out, count * height);
  run.halve(out, width, height, out); // in place, as a pixel is written only after its four are read
  return taken(run, out, (count * height) >> 2);
}

/** Which of the resized planes is the highest at each pixel; the first one if two are. */
export function highest(planes: readonly Bytes[], stride: number, across: Steps, down: Steps): Bytes {
  const width = across.length / 3, height = down.length / 3, count = width * height;
  const { run, at } = reserve(planes[0]!.length, across.byteLength, down.byteLength, 4 * width + 64, count, count, count);
  const [source, acrossAt, downAt, rows, best, scores, labels] = at as [number, number, number, number, number, number, number];
  put(run, acrossAt, across);
  put(run, downAt, down);
  new Uint8Array(run.memory.buffer, labels, count).fill(0);
  for (const [label, plane] of planes.entries()) {
    put(run, source, plane);
    run.bilinear(source, stride, 1, width, height, acrossAt, downAt, rows, label ? scores : best);
    if (label) run.keepBest(best, scores, labels, label, count);
  }
  return taken(run, labels, count);
}

/** The share of foreground, of 255, among the 3x3 pixels around each pixel; beyond the border the outermost pixels are repeated. */
export function meanOfNine(labels: Bytes, width: number, height: number): Bytes {
  const { run, at } = reserve(labels.length, width + 2, labels.length);
  const [source, line, out] = at as [number, number, number];
  put(run, source, labels);
  run.softAlpha(source, width, height, line, out);
  return taken(run, out, labels.length);
}
