/** Shows the model card. */

import type { ModelInfo } from "./api.ts";
import { make, megabytes } from "./dom.ts";
import { text, type Word } from "./strings.ts";

type Scores = Record<string, unknown>;

const COLUMNS: readonly [string, Word][] = [
  ["mean_dice", "dice"],
  ["mean_photo_dice", "photoDice"],
  ["boundary_f", "boundary"],
  ["photos", "photos"],
];

function isObject(value: unknown): value is Scores {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** A row for each part of the data and variant of the model; null if the scores have another form. */
function scoreTable(scores: Scores): HTMLElement | null {
  const rows: [string, Scores][] = [];
  for (const [part, variants] of Object.entries(scores)) {
    if (!isObject(variants)) continue;
    for (const [variant, values] of Object.entries(variants)) {
      if (isObject(values) && "mean_dice" in values && variant !== "drop") rows.push([`${part}, ${variant}`, values]);
    }
  }
  if (!rows.length) return null;
  const columns = COLUMNS.filter(([key]) => rows.some(([, values]) => key in values));
  const heads = (["part", ...columns.map(([, word]) => word)] as const).map((word) => {
    const head = make("th", text(word));
    head.scope = "col";
    return head;
  });
  const body = rows.map(([name, values]) => {
    const head = make("th", name);
    head.scope = "row";
    return make("tr", head, ...columns.map(([key]) => make("td", String(values[key] ?? ""))));
  });
  const scroll = make("div", make("table", make("thead", make("tr", ...heads)), make("tbody", ...body)));
  scroll.className = "scroll";
  scroll.tabIndex = 0; // so that a wide table can be scrolled by keyboard
  scroll.setAttribute("role", "region");
  scroll.setAttribute("aria-label", text("scores"));
  return scroll;
}

/** The card's content. */
export function showCard(container: HTMLElement, { card, bytes, sha256, has_card }: ModelInfo): void {
  const list = make("dl");
  const line = (word: Word, content: string): void => {
    if (content) list.append(make("div", make("dt", text(word)), make("dd", content)));
  };
  line("name", `${card.name}${card.version && card.version !== "0" ? ` ${card.version}` : ""}`);
  line("classes", card.classes.map(({ name }) => name).join(", "));
  line("input", text("inputOf", { size: card.input_size_wh.join("×") }));
  line("file", [megabytes(bytes), sha256 && `SHA-256 ${sha256}`].filter(Boolean).join(", "));
  line("licence", card.licence);
  const date = card.created.slice(0, 10), versions = Object.entries(card.versions).map((pair) => pair.join(" ")).join(", ");
  line("made", date && versions ? text("madeWith", { date, versions }) : date);
  const parts: Node[] = has_card ? [] : [make("p", text("noCard"))];
  parts.push(...card.notes.split("\n").filter(Boolean).map((line) => make("p", line)));
  const table = scoreTable(card.scores);
  if (table) parts.push(table);
  parts.push(list);
  for (const [word, value] of [["recipe", card.recipe], ["data", card.data]] as const) {
    if (!Object.keys(value).length) continue;
    parts.push(make("details", make("summary", text(word)), make("pre", JSON.stringify(value, null, 1))));
  }
  container.replaceChildren(...parts);
}
