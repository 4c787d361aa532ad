/** The edge of the foreground: `seg_edge/matte.py` in the browser, equal to it in every byte. */

import type { Bytes, Plane } from "./resize.ts";

const REACH = 3; // samples on each side that give an edge pixel its colour

/** How much of each pixel is foreground: 255 inside, 0 outside, the mean over the 3x3 pixels around it. */
export function softAlpha(labels: Bytes, width: number, height: number): Bytes {
  const across = new Uint8Array(labels.length), alpha = new Uint8Array(labels.length);
  for (let y = 0, at = 0; y < height; y++) {
    let before = labels[at] ? 1 : 0, here = before;
    for (let x = 0; x < width; x++, at++) {
      const next = x + 1 < width ? (labels[at + 1] ? 1 : 0) : here;
      across[at] = before + here + next;
      [before, here] = [here, next];
    }
  }
  const ninths = Uint8Array.from({ length: 10 }, (_, count) => Math.round((count * 255) / 9));
  for (let y = 0, at = 0; y < height; y++) {
    const above = y ? -width : 0, below = y + 1 < height ? width : 0;
    for (let x = 0; x < width; x++, at++) alpha[at] = ninths[across[at + above]! + across[at]! + across[at + below]!]!;
  }
  return alpha;
}

/** A rectangle of a picture. */
export interface Window {
  readonly left: number;
  readonly top: number;
  readonly right: number;
  readonly bottom: number;
}

/** The rectangle outside of which alpha is 0; null where it is 0 everywhere. */
export function windowOf(alpha: Bytes, width: number, height: number): Window | null {
  let left = width, right = 0, top = height, bottom = 0;
  for (let y = 0; y < height; y++) {
    const row = alpha.subarray(y * width, (y + 1) * width);
    const first = row.findIndex((value) => value !== 0);
    if (first < 0) continue;
    let last = width - 1;
    while (!row[last]) last--;
    [left, right] = [Math.min(left, first), Math.max(right, last + 1)];
    [top, bottom] = [Math.min(top, y), y + 1];
  }
  return bottom ? { left, top, right, bottom } : null;
}

/**
 * Gives the colour of the foreground at a soft edge, free of the background that a photo's pixels mix in there: the mean
 * of the surely foreground pixels nearby, sampled on a grid of about a thousand over the photo.
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
  const { width, height } = photo, window = windowOf(alpha, width, height);
  if (!window) return below;
  const source = new Uint32Array(photo.data.buffer, photo.data.byteOffset, alpha.length), target = new Uint32Array(below.buffer);
  const colourAt = foregroundColour(photo, alpha), colour = new Uint8Array(3);
  for (let y = window.top; y < window.bottom; y++) {
    for (let x = window.left, at = y * width + x; x < window.right; x++, at++) {
      const share = alpha[at]!;
      if (share === 0) continue;
      if (share === 255) {
        target[at] = source[at]!;
        continue;
      }
      if (clean) colourAt(x, y, colour);
      for (let c = 0; c < 3; c++) {
        const above = clean ? colour[c]! : photo.data[4 * at + c]!;
        below[4 * at + c] = Math.floor((below[4 * at + c]! * (255 - share) + above * share + 127) / 255);
      }
    }
  }
  return below;
}
