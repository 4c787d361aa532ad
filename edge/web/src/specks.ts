/** Removes regions and holes of a few of a model's pixels: `seg_edge/specks.py` in the browser, equal to it. */

import type { Bytes } from "./resize.ts";

const OUTSIDE = -1;

/** The label map with connected regions of fewer than `minPixels` pixels replaced by what is around them. */
export function withoutSpecks(labels: Bytes, width: number, minPixels: number): Bytes {
  const height = labels.length / width, framed = new Framed(labels, width, height);
  const classes = 1 + labels.reduce((most, label) => Math.max(most, label), 0);
  for (let index = 1; index <= classes; index++) framed.clean(index % classes, classes, minPixels); // the background last
  return framed.labels(height);
}

/** A label map with a frame, so that every pixel has eight neighbours. */
class Framed {
  private readonly cells: Int16Array;
  private readonly queue: Int32Array;
  private readonly stride: number;

  constructor(labels: Bytes, private readonly width: number, height: number) {
    this.stride = width + 2;
    this.cells = new Int16Array(this.stride * (height + 2)).fill(OUTSIDE);
    this.queue = new Int32Array(labels.length);
    for (let y = 0; y < height; y++) this.cells.set(labels.subarray(y * width, (y + 1) * width), this.start(y));
  }

  private start(y: number): number {
    return (y + 1) * this.stride + 1;
  }

  labels(height: number): Bytes {
    const labels = new Uint8Array(this.width * height);
    for (let y = 0; y < height; y++) labels.set(this.cells.subarray(this.start(y), this.start(y) + this.width), y * this.width);
    return labels;
  }

  /** Regions are connected at their corners too, except those of the background. */
  clean(index: number, classes: number, minPixels: number): void {
    const { cells, queue, stride } = this, sides = [-1, 1, -stride, stride];
    const near = index ? [...sides, -stride - 1, -stride + 1, stride - 1, stride + 1] : sides;
    const seen = new Uint8Array(cells.length);
    for (let first = 0; first < cells.length; first++) {
      if (cells[first] !== index || seen[first]) continue;
      let count = 1;
      queue[0] = first;
      seen[first] = 1;
      for (let i = 0; i < count; i++) {
        for (const step of near) {
          const next = queue[i]! + step;
          if (cells[next] !== index || seen[next]) continue;
          seen[next] = 1;
          queue[count++] = next;
        }
      }
      if (count < minPixels) this.dissolve(queue.subarray(0, count), index, classes, sides);
    }
  }

  /** Gives a region to the class next to most of the pixel sides along its outline, if there is one. */
  private dissolve(region: Int32Array, index: number, classes: number, sides: readonly number[]): void {
    const facing = new Uint32Array(classes);
    for (const at of region) {
      for (const step of sides) {
        const label = this.cells[at + step]!;
        if (label !== index && label !== OUTSIDE) facing[label]!++;
      }
    }
    const most = Math.max(...facing);
    if (most) for (const at of region) this.cells[at] = facing.indexOf(most);
  }
}
