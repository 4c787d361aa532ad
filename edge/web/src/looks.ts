/** The choice of an effect and its background. */

import { at, chosen } from "./dom.ts";
import type { Colour, Effect, Look } from "./paint.ts";

const colour = at<HTMLInputElement>("colour");

/** The current choice. */
export function look(): Look {
  const value = Number.parseInt(colour.value.slice(1), 16);
  return { effect: chosen("effect") as Effect, colour: [value >> 16, (value >> 8) & 255, value & 255] satisfies Colour };
}

/** Shows only the controls of the chosen effect. */
function unfold(): void {
  const { effect } = look();
  at("behind").hidden = effect !== "replace";
  at("privacy-note").hidden = effect !== "anonymize";
}

/**
 * Reports every change.
 *
 * @param coloured A colour was chosen, which replaces a picture.
 */
export function onLook(changed: () => void, coloured: () => void): void {
  for (const input of document.querySelectorAll('input[name="effect"]')) {
    input.addEventListener("change", () => {
      unfold();
      changed();
    });
  }
  colour.addEventListener("input", coloured);
  unfold();
}
