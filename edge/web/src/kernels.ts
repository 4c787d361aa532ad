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

/** What the kernels need to stretch along a side: of each place two offsets, and two weights in one number. */
export type Steps = Int32Array<ArrayBuffer>;

const PAGE = 65_536, SLACK = 32;
const KEPT = 64 * 2 ** 20; // memory can't be made smaller, so what large photos took is given back with all of it
let module: WebAssembly.Module | null = null; // compiled when it is used: an old browser can't, and gets a message before
let kernels: Exports | null = null;

/** The kernels, and addresses of blocks of memory for this one call. */
function reserve(...sizes: number[]): { run: Exports; at: number[] } {
  module ??= new WebAssembly.Module(binary);
  if (!kernels || kernels.memory.buffer.byteLength > KEPT) kernels = new WebAssembly.Instance(module).exports as Exports;
  let end = 0; // the module has no data of its own
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

/** Rows of `stride` bytes stretched bilinearly to one place for each of the steps; `half` then takes means of 2x2 pixels of four. */
export function stretched(data: Bytes, stride: number, channels: number, across: Steps, down: Steps, half: boolean): Bytes {
  const width = across.length / 3, height = down.length / 3, count = width * channels;
  const { run, at } = reserve(data.length, across.byteLength, down.byteLength, 4 * count + 64, count * height);
  const [source, acrossAt, downAt, rows, out] = at as [number, number, number, number, number];
  put(run, source, data);
  put(run, acrossAt, across);
  put(run, downAt, down);
  run.bilinear(source, stride, channels, width, height, acrossAt, downAt, rows, out);
  if (!half) return taken(run, out, count * height);
  run.halve(out, width, height, out); // in place, as no pixel is written before all four of it are read
  return taken(run, out, (count * height) >> 2);
}

/** Which of the planes, stretched, is the highest at each place; the first where two are. */
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

/** Of each pixel the share of foreground among the 3x3 around it, of 255; beside a picture is what its outermost pixels are. */
export function meanOfNine(labels: Bytes, width: number, height: number): Bytes {
  const { run, at } = reserve(labels.length, width + 2, labels.length);
  const [source, line, out] = at as [number, number, number];
  put(run, source, labels);
  run.softAlpha(source, width, height, line, out);
  return taken(run, out, labels.length);
}
