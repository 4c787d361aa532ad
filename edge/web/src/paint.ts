/** Pictures of an answer. They are painted in the worker, and handed over without a copy. */

import type { ClassInfo } from "./api.ts";

export interface Result {
  readonly labels: Uint8Array;
  readonly alpha: Uint8Array;
  readonly width: number;
  readonly height: number;
}

function paint({ width, height }: Result, fill: (pixels: Uint32Array) => void): ImageBitmap {
  const canvas = new OffscreenCanvas(width, height), context = canvas.getContext("2d")!;
  const image = context.createImageData(width, height);
  fill(new Uint32Array(image.data.buffer));
  context.putImageData(image, 0, 0);
  return canvas.transferToImageBitmap();
}

/** The classes' colours as the 32-bit numbers of a little-endian machine's RGBA, without alpha. */
function coloursOf(classes: readonly ClassInfo[]): Uint32Array {
  return Uint32Array.from(classes, ({ colour: [red, green, blue] }) => red | (green << 8) | (blue << 16));
}

/** Each class in its colour, the less the less sure the model is; the background is clear. */
export function overlay(result: Result, classes: readonly ClassInfo[]): ImageBitmap {
  const colours = coloursOf(classes);
  const edge = classes.length === 2 ? 1 : 0; // whose soft edge reaches into the background; of several nobody knows
  return paint(result, (pixels) => {
    for (let i = 0; i < pixels.length; i++) {
      const label = result.labels[i]! || edge;
      pixels[i] = label ? colours[label]! | (result.alpha[i]! << 24) : 0;
    }
  });
}

/** Each class in its colour, hard-edged; the background is black. */
export function mask(result: Result, classes: readonly ClassInfo[]): ImageBitmap {
  const colours = coloursOf(classes);
  return paint(result, (pixels) => {
    for (let i = 0; i < pixels.length; i++) pixels[i] = colours[result.labels[i]!]! | (255 << 24);
  });
}

/** The photo's foreground on transparency, as a PNG. */
export async function cutout(result: Result, photo: Blob): Promise<Blob> {
  const { width, height } = result;
  const canvas = new OffscreenCanvas(width, height), context = canvas.getContext("2d")!;
  const picture = await createImageBitmap(photo); // in the colours that its profile says
  context.drawImage(picture, 0, 0, width, height);
  picture.close();
  const image = context.getImageData(0, 0, width, height);
  for (let i = 0, at = 3; i < result.alpha.length; i++, at += 4) {
    image.data[at] = Math.round((image.data[at]! * result.alpha[i]!) / 255);
  }
  context.putImageData(image, 0, 0);
  return canvas.convertToBlob({ type: "image/png" });
}
