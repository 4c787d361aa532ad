/** The mark in a picture file by which `seg-edge image` skips it: `seg_edge/photo/mark.py` in the browser. */

import { chunk } from "./png.ts";

declare const MADE_BY: string; // set by the build

/** A PNG or JPEG as a browser encodes it, with a text or a comment that names the program. */
export async function marked(picture: Blob): Promise<Blob> {
  const text = new TextEncoder().encode(MADE_BY);
  const [, , kind, next, high, low] = new Uint8Array(await picture.slice(0, 6).arrayBuffer());
  let at = 33, part = chunk("tEXt", Uint8Array.from([...new TextEncoder().encode("Software\0"), ...text])); // after IHDR
  if (picture.type === "image/jpeg") {
    at = kind === 0xff && next === 0xe0 ? 4 + 256 * high! + low! : 2; // JFIF's segment comes first
    part = Uint8Array.from([0xff, 0xfe, 0, text.length + 2, ...text]);
  }
  return new Blob([picture.slice(0, at), part, picture.slice(at)], { type: picture.type });
}
