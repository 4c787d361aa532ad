/** The ways a photo comes in: chosen, dropped anywhere on the page, or pasted. */

import { at } from "./dom.ts";

function firstOf(files: FileList | null | undefined, take: (file: File) => void): void {
  const file = files?.[0];
  if (file) take(file);
}

/** Hands over every photo that comes. */
export function onPhoto(take: (file: File) => void): void {
  const input = at<HTMLInputElement>("file");
  at("choose").addEventListener("click", () => input.click());
  at("drop").addEventListener("click", () => input.click()); // for pointers; keys have the button
  input.addEventListener("change", () => {
    firstOf(input.files, take);
    input.value = ""; // so that the same file can be chosen again
  });
  document.addEventListener("dragover", (event) => {
    event.preventDefault();
    document.body.classList.add("dragging");
  });
  document.addEventListener("dragleave", (event) => {
    if (!event.relatedTarget) document.body.classList.remove("dragging");
  });
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    document.body.classList.remove("dragging");
    firstOf(event.dataTransfer?.files, take);
  });
  document.addEventListener("paste", (event) => firstOf(event.clipboardData?.files, take));
}
