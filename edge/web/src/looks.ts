/** The choice of an effect, and of what it puts behind people. */

import { at, chosen } from "./dom.ts";
import type { Colour, Effect, Look } from "./paint.ts";

const colour = at<HTMLInputElement>("colour");

/** What is chosen now. */
export function look(): Look {
  const value = Number.parseInt(colour.value.slice(1), 16);
  return { effect: chosen("effect") as Effect, colour: [value >> 16, (value >> 8) & 255, value & 255] satisfies Colour };
}

/** Shows what belongs to the chosen effect, and no more. */
function unfold(): void {
  const { effect } = look();
  at("behind").hidden = effect !== "replace";
  at("privacy-note").hidden = effect !== "anonymize";
}

/**
 * Tells of every change.
 *
 * @param coloured A colour was chosen, which takes the place of a picture.
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
