/** Shows what was found, in a sentence and in numbers, and the timings. */

import type { ClassInfo } from "./api.ts";
import { at, make, percent } from "./dom.ts";
import { text, type Word } from "./strings.ts";
import type { Found } from "./worker.ts";

const STAGES = ["decode", "preprocess", "inference", "postprocess", "paint", "encode", "transfer"] as const;
const SPECK = 0.0005; // as in `seg_edge/segmenter.py`: less of a picture counts as nothing

function hex(colour: readonly number[]): string {
  return `#${colour.map((value) => value.toString(16).padStart(2, "0")).join("")}`;
}

/** Whether a model finds people and nothing else. */
export function findsPeople(classes: readonly ClassInfo[]): boolean {
  return classes.length === 2 && classes[1]!.name === "person";
}

/** The names of what a model finds. */
export function namesOf(classes: readonly ClassInfo[]): string {
  return classes.slice(1).map(({ name }) => name).join(", ");
}

/** A sentence on whether something was found. */
export function inWords({ shares }: Found, classes: readonly ClassInfo[]): string {
  if (shares.slice(1).some((share) => share >= SPECK)) return text("done");
  return findsPeople(classes) ? text("nobody") : text("nothing", { classes: namesOf(classes) });
}

/** Fills the lists of shares and timings. */
export function showNumbers({ shares, timing }: Found, classes: readonly ClassInfo[], threads: string): void {
  const order = [...classes.keys()].slice(1).sort((a, b) => shares[b]! - shares[a]!);
  at("legend").replaceChildren(...[...order, 0].map((index) => {
    const { name, colour } = classes[index]!, share = shares[index] ?? 0;
    const row = make("li", make("i"), make("b", name), make("span", percent(share)), make("div"));
    // A black bar would be invisible on a dark page.
    row.style.setProperty("--colour", index ? hex(colour) : "var(--control)");
    row.style.setProperty("--share", percent(share).replace(" ", ""));
    (row.firstChild as HTMLElement).style.background = hex(colour);
    return row;
  }));
  const stages: [Word, number][] = STAGES.filter((stage) => stage in timing).map((stage) => [stage, timing[stage]!]);
  stages.push(["total", Object.values(timing).reduce((sum, value) => sum + value, 0)]);
  at("timing").replaceChildren(...stages.map(([word, elapsed]) => {
    const line = make("div", make("dt", text(word)), make("dd", `${elapsed.toFixed(1)} ms`));
    line.className = word;
    return line;
  }));
  at("threads").textContent = threads;
  at("numbers").hidden = false;
}
