/**
 * The EXIF orientation of WebP and PNG, which only some browsers apply: it is read as `seg_edge` reads it, and removed from
 * the file, so that every browser decodes the picture as it is stored. All browsers apply that of JPEG.
 *
 * PNG: W3C PNG specification, 11.3 (eXIf). WebP: RFC 9649. EXIF 2.3, tag 0x0112 in a TIFF directory.
 */

import { crcOf } from "./png.ts";

const ORIENTATION = 0x0112;
const MAX_EXIF = 65_536;
const WIDTHS: Record<number, number> = { 1: 1, 3: 2, 4: 4 }; // bytes of TIFF's BYTE, SHORT and LONG

function kindAt(view: DataView, at: number): string {
  return String.fromCharCode(...Array.from({ length: 4 }, (_, i) => view.getUint8(at + i)));
}

/** The offset and length of the EXIF block. */
function findExif(view: DataView): [number, number] | null {
  if (kindAt(view, 0) === "RIFF" && kindAt(view, 8) === "WEBP") {
    if (kindAt(view, 12) !== "VP8X" || !(view.getUint8(20) & 8)) return null;
    for (let at = 12; at + 8 <= view.byteLength; ) {
      const length = view.getUint32(at + 4, true);
      if (kindAt(view, at) === "EXIF") return [at + 8, length];
      at += 8 + length + (length % 2);
    }
  } else if (kindAt(view, 1) === "PNG\r") {
    for (let at = 8; at + 8 <= view.byteLength; at += 12 + view.getUint32(at)) {
      if (kindAt(view, at + 4) === "eXIf") return [at + 8, view.getUint32(at)];
    }
  }
  return null;
}

/** The orientation's offset in the file, its width in bytes and the byte order. */
function findOrientation(view: DataView): { at: number; width: number; little: boolean } | null {
  const found = findExif(view);
  if (!found) return null;
  let [start, length] = found;
  const end = Math.min(start + Math.min(length, MAX_EXIF), view.byteLength);
  if (kindAt(view, start) === "Exif") start += 6;
  const order = kindAt(view, start), little = order === "II*\0";
  if (!little && order !== "MM\0*") return null;
  const directory = start + view.getUint32(start + 4, little);
  const count = view.getUint16(directory, little);
  if (directory + 2 + 12 * count > end) return null;
  for (let i = count - 1; i >= 0; i--) { // of several, the last one counts, as in Python
    const entry = directory + 2 + 12 * i;
    if (view.getUint16(entry, little) !== ORIENTATION) continue;
    const width = WIDTHS[view.getUint16(entry + 2, little)], values = view.getUint32(entry + 4, little);
    if (!width || !values) return null;
    const at = values * width <= 4 ? entry + 8 : start + view.getUint32(entry + 8, little);
    return at + width <= end ? { at, width, little } : null;
  }
  return null;
}

/** Corrects the checksum of a PNG's EXIF chunk. */
function sign(content: ArrayBuffer, view: DataView): void {
  const [start, length] = findExif(view)!;
  view.setUint32(start + length, crcOf(new Uint8Array(content, start - 4, length + 4)));
}

/** The file for browsers to decode, and the orientation, 1 to 8, to apply afterwards. */
export async function takeOrientation(file: Blob): Promise<[Blob, number]> {
  const head = new DataView(await file.slice(0, 16).arrayBuffer());
  if (head.byteLength < 16 || !/^(RIFF....WEBP|.PNG\r\n)/s.test(kindAt(head, 0) + kindAt(head, 4) + kindAt(head, 8))) return [file, 1];
  const content = await file.arrayBuffer(), view = new DataView(content);
  try {
    const found = findOrientation(view);
    if (!found) return [file, 1];
    const { at, width, little } = found;
    const value = width === 1 ? view.getUint8(at) : width === 2 ? view.getUint16(at, little) : view.getUint32(at, little);
    if (width === 1) view.setUint8(at, 1);
    else if (width === 2) view.setUint16(at, 1, little);
    else view.setUint32(at, 1, little);
    if (kindAt(view, 1) === "PNG\r") sign(content, view);
    return value >= 1 && value <= 8 ? [new Blob([content], { type: file.type }), value] : [file, 1];
  } catch (error) {
    if (error instanceof RangeError) return [file, 1]; // cut short: the decoder decides whether it can be shown
    throw error;
  }
}

/** Draws a stored picture upright, into a canvas of (width, height), its size when upright. */
export function drawUpright(
  context: OffscreenCanvasRenderingContext2D, picture: CanvasImageSource, orientation: number, width: number, height: number,
): void {
  // Columns of the matrix from stored to upright positions, 0 to 1.
  const [a, b, c, d, e, f] = ([
    [1, 0, 0, 1, 0, 0], [-1, 0, 0, 1, 1, 0], [-1, 0, 0, -1, 1, 1], [1, 0, 0, -1, 0, 1],
    [0, 1, 1, 0, 0, 0], [0, 1, -1, 0, 1, 0], [0, -1, -1, 0, 1, 1], [0, -1, 1, 0, 0, 1],
  ] as const)[orientation - 1]!;
  const [w, h] = orientation < 5 ? [width, height] : [height, width]; // stored
  context.setTransform((a * width) / w, (b * height) / w, (c * width) / h, (d * height) / h, e * width, f * height);
  context.drawImage(picture, 0, 0, w, h);
  context.resetTransform();
}
