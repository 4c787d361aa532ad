/** A failure that the page reports in the user's language. */

import type { Word } from "./strings.ts";

export type Values = Readonly<Record<string, string | number>>;

/** What went wrong, as a word of `strings.ts`: the worker, where most of them arise, knows no languages. */
export class Fault extends Error {
  constructor(readonly word: Word, readonly values: Values = {}) {
    super(word);
  }
}

/** The access code is missing or wrong. */
export class Locked extends Fault {}
