/** The ways pictures leave the page: saved, copied, shared, or several in one file. */

import { zipSync } from "fflate";

import { save } from "./dom.ts";
import { Fault } from "./fault.ts";
import type { Effect } from "./paint.ts";

export const CAN_COPY = "ClipboardItem" in self && (navigator.clipboard as Clipboard | undefined) !== undefined;
/** Phones, mostly. */
export const CAN_SHARE = typeof navigator.canShare === "function"
  && navigator.canShare({ files: [new File([], "picture.png", { type: "image/png" })] });

/** As `seg-edge image` writes them: transparent pictures and masks lossless, the rest as JPEG. */
export function typeOf(effect: Effect): string {
  return effect === "cutout" || effect === "mask" ? "image/png" : "image/jpeg";
}

/** The file name of a photo's picture, as of `seg-edge image`. */
export function nameOf(photo: string, effect: Effect): string {
  return `${photo.replace(/\.[^.]*$/, "")}.${effect}.${typeOf(effect) === "image/png" ? "png" : "jpg"}`;
}

export async function copy(picture: Promise<Blob>): Promise<void> {
  try {
    await navigator.clipboard.write([new ClipboardItem({ "image/png": picture })]);
  } catch {
    throw new Fault("noCopy");
  }
}

export async function share(picture: Blob, name: string): Promise<void> {
  const files = [new File([picture], name, { type: picture.type })];
  await navigator.share({ files }).catch((error: Error) => {
    if (error.name !== "AbortError") throw new Fault("noCopy"); // the user may change their mind
  });
}

/** Downloads several pictures as one zip. */
export function saveZip(pictures: readonly { readonly name: string; readonly content: Uint8Array }[]): void {
  const files: Record<string, Uint8Array> = {};
  for (const { name, content } of pictures) {
    let free = name;
    for (let i = 2; free in files; i++) free = name.replace(/(\.[^.]+\.[^.]+)$/, `-${i}$1`);
    files[free] = content;
  }
  save(new Blob([zipSync(files, { level: 0 }) as Uint8Array<ArrayBuffer>], { type: "application/zip" }), "seg-edge.zip");
}
