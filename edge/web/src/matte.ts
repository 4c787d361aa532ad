/** The edge of the foreground: `seg_edge/matte.py` in the browser, equal to it in every byte. */

import { meanOfNine } from "./kernels.ts";
import { pixelsOf, type Bytes, type Plane } from "./resize.ts";

const REACH = 3; // samples on each side that give an edge pixel its colour

/** How much of each pixel is foreground: 255 inside, 0 outside, the mean over the 3x3 pixels around it. */
export function softAlpha(labels: Bytes, width: number, height: number): Bytes {
  return meanOfNine(labels, width, height);
}

/** A rectangle of a picture. */
/** Where along the rows a plane is not 0: the start and the end of each run, one after the other. */
export function runsOf(plane: Bytes, width: number): number[] {
  const four = new Uint32Array(plane.buffer, plane.byteOffset, plane.length >> 2), runs: number[] = [];
  for (let start = 0; start < plane.length; start += width) {
    const end = start + width;
    for (let at = start; at < end; ) {
      while (at < end && plane[at] === 0) at += at % 4 === 0 && four[at >> 2] === 0 ? 4 : 1;
      if (at >= end) break;
      runs.push(at);
      while (at < end && plane[at] !== 0) at++;
      runs.push(at);
    }
  }
  return runs;
}

/**
 * Gives the colour of the foreground at a soft edge, free of the background that a photo's pixels mix in there: the mean
 * of nearby pixels that are certainly foreground, sampled on a grid of about a thousand cells a side.
 */
export function foregroundColour(photo: Plane, alpha: Bytes): (x: number, y: number, colour: Uint8Array) => void {
  const { data, width, height } = photo, step = 1 + Math.floor(Math.max(width, height) / 1000);
  const columns = Math.ceil(width / step), rows = Math.ceil(height / step);
  return (x, y, colour) => {
    const column = Math.floor(x / step), row = Math.floor(y / step);
    let count = 0, red = 0, green = 0, blue = 0;
    for (let j = Math.max(0, row - REACH); j <= Math.min(rows - 1, row + REACH); j++) {
      for (let i = Math.max(0, column - REACH); i <= Math.min(columns - 1, column + REACH); i++) {
        const at = (j * width + i) * step;
        if (alpha[at] !== 255) continue;
        count++;
        red += data[4 * at]!;
        green += data[4 * at + 1]!;
        blue += data[4 * at + 2]!;
      }
    }
    if (count) {
      colour[0] = Math.floor((red + count / 2) / count);
      colour[1] = Math.floor((green + count / 2) / count);
      colour[2] = Math.floor((blue + count / 2) / count);
    } else {
      const at = 4 * (y * width + x);
      for (let c = 0; c < 3; c++) colour[c] = data[at + c]!;
    }
  };
}

/** Puts the photo over `below`, in place, both RGBA of one size; `clean` takes the foreground's own colours at its edge. */
export function paste(below: Bytes, photo: Plane, alpha: Bytes, clean: boolean): Bytes {
  const { width } = photo, runs = runsOf(alpha, width);
  const source = pixelsOf(photo.data), target = pixelsOf(below);
  const colourAt = foregroundColour(photo, alpha), colour = new Uint8Array(3);
  for (let i = 0; i < runs.length; i += 2) {
    const y = Math.floor(runs[i]! / width), end = runs[i + 1]!;
    for (let at = runs[i]!; at < end; at++) {
      const share = alpha[at]!;
      if (share === 255) {
        const start = at;
        while (at + 1 < end && alpha[at + 1] === 255) at++;
        target.set(source.subarray(start, at + 1), start);
        continue;
      }
      if (clean) colourAt(at - y * width, y, colour);
      for (let c = 0; c < 3; c++) {
        const above = clean ? colour[c]! : photo.data[4 * at + c]!;
        below[4 * at + c] = Math.floor((below[4 * at + c]! * (255 - share) + above * share + 127) / 255);
      }
    }
  }
  return below;
}
