/** Partly transparent photos: `seg_edge/transparency.py` in the browser. */

import type { Bytes, Plane } from "./resize.ts";

const SEEN = 127; // of 255: anything less opaque is background

/** A photo before it was laid over white. */
export interface Transparent {
  /** RGBA, fully opaque. */
  readonly colour: Plane;
  readonly alpha: Bytes;
}

/** Lays a picture over white, in place; null if it is opaque. */
export function layOverWhite(picture: Plane): Transparent | null {
  const { data } = picture;
  let at = 3;
  while (at < data.length && data[at] === 255) at += 4;
  if (at >= data.length) return null;
  const alpha = new Uint8Array(data.length / 4), colour = data.slice();
  for (let i = 0; i < alpha.length; i++) {
    const share = (alpha[i] = data[4 * i + 3]!);
    for (let c = 4 * i; c < 4 * i + 3; c++) data[c] = 255 - Math.round(((255 - data[c]!) * share) / 255);
    data[4 * i + 3] = colour[4 * i + 3] = 255;
  }
  return { colour: { ...picture, data: colour }, alpha };
}

/** Turns transparent parts of the photo into background, in place. */
export function findSeen(labels: Bytes, { alpha }: Transparent): void {
  for (let i = 0; i < labels.length; i++) if (alpha[i]! <= SEEN) labels[i] = 0;
}

/** The cut-out in a photo's own colours, RGBA, nowhere less transparent than the photo; returns its alpha, too. */
export function keepTransparent(cutout: Bytes, { alpha }: Transparent): Bytes {
  const kept = new Uint8Array(alpha.length), pixels = new Uint32Array(cutout.buffer);
  for (let i = 0; i < kept.length; i++) {
    kept[i] = cutout[4 * i + 3] = Math.min(cutout[4 * i + 3]!, alpha[i]!);
    if (!kept[i]) pixels[i] = 0;
  }
  return kept;
}
