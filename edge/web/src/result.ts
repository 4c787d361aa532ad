/** What was found, in numbers: the legend with shares, and where the time went. */

import type { ModelInfo } from "./api.ts";
import { at, make, percent } from "./dom.ts";
import type { Found } from "./worker.ts";

const STAGES: Record<string, string> = {
  decode: "Decode",
  preprocess: "Resize",
  inference: "Model",
  postprocess: "Label map",
  encode: "Encode",
  transfer: "Transfer",
};

function hex(colour: readonly number[]): string {
  return `#${colour.map((value) => value.toString(16).padStart(2, "0")).join("")}`;
}

/** What was found, as a sentence. */
export function inWords(found: Found, model: ModelInfo): string {
  const classes = model.card.classes.map(({ name }, i) => [name, found.shares[i] ?? 0] as const).slice(1);
  const there = classes.filter(([, share]) => share > 0).sort((a, b) => b[1] - a[1]);
  return there.length ? there.map(([name, share]) => `${name} ${percent(share)}`).join(", ") : "nothing found";
}

export function totalMs(found: Found): number {
  return Object.values(found.timing).reduce((sum, value) => sum + value, 0);
}

/** Fills the result's section. */
export function showResult(found: Found, model: ModelInfo, threads: string): void {
  const order = [...model.card.classes.keys()].slice(1).sort((a, b) => found.shares[b]! - found.shares[a]!);
  at("legend").replaceChildren(...[...order, 0].map((index) => {
    const { name, colour } = model.card.classes[index]!, share = found.shares[index] ?? 0;
    const row = make("li", make("i"), make("b", name), make("span", percent(share)), make("div"));
    // Black on a dark page is no bar.
    row.style.setProperty("--colour", index ? hex(colour) : "var(--control)");
    row.style.setProperty("--share", percent(share).replace(" ", ""));
    (row.firstChild as HTMLElement).style.background = hex(colour);
    return row;
  }));
  const lines = Object.entries(found.timing).map(([stage, elapsed]) => [STAGES[stage] ?? stage, elapsed, ""] as const);
  at("timing").replaceChildren(...[...lines, ["Total", totalMs(found), "total"] as const].map(([title, elapsed, kind]) => {
    const line = make("div", make("dt", title), make("dd", `${elapsed.toFixed(1)} ms`));
    line.className = kind;
    return line;
  }));
  at("threads").textContent = threads;
  at("result").hidden = false;
}
