/** The ways photos come in: chosen, dropped anywhere on the page, or pasted. */

import { at } from "./dom.ts";

function listOf(files: FileList | null | undefined): File[] {
  return [...(files ?? [])];
}

/** Opens the browser's file dialog at a click, and passes on the chosen files. */
export function onChoice(button: string, input: string, take: (files: File[]) => void): void {
  const field = at<HTMLInputElement>(input);
  at(button).addEventListener("click", () => field.click());
  field.addEventListener("change", () => {
    const files = listOf(field.files);
    field.value = ""; // so that the same file can be chosen again
    if (files.length) take(files);
  });
}

/** Passes on what is dropped or pasted. */
export function onArrival(take: (files: File[]) => void): void {
  const arrive = (transfer: DataTransfer | null): void => {
    const files = listOf(transfer?.files);
    if (files.length) take(files);
  };
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
    arrive(event.dataTransfer);
  });
  document.addEventListener("paste", (event) => arrive(event.clipboardData));
}
