/** The model card, for people. */

import type { ModelInfo } from "./api.ts";
import { make, megabytes } from "./dom.ts";

type Scores = Record<string, unknown>;

const COLUMNS: readonly [string, string][] = [
  ["mean_dice", "Dice"],
  ["mean_photo_dice", "Dice, mean over photos"],
  ["boundary_f", "Boundary F"],
  ["photos", "Photos"],
];

function isObject(value: unknown): value is Scores {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** One row a part of the data and variant of the model; null where the scores have no such form. */
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
  const heads = ["Part, variant", ...columns.map(([, title]) => title)].map((title) => {
    const head = make("th", title);
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
  scroll.tabIndex = 0; // a table too wide for a phone can be scrolled by keys
  scroll.setAttribute("role", "region");
  scroll.setAttribute("aria-label", "Scores");
  return scroll;
}

/** The card's content. */
export function showCard(place: HTMLElement, { card, bytes, sha256, has_card }: ModelInfo): void {
  const list = make("dl");
  const line = (title: string, text: string): void => {
    if (text) list.append(make("div", make("dt", title), make("dd", text)));
  };
  line("Name", `${card.name}${card.version && card.version !== "0" ? ` ${card.version}` : ""}`);
  line("Classes", card.classes.map(({ name }) => name).join(", "));
  line("Input", `${card.input_size_wh.join("×")} pixels, stretched from the photo`);
  line("File", `${megabytes(bytes)}, SHA-256 ${sha256}`);
  line("Licence", card.licence);
  line("Made", [card.created.slice(0, 10), Object.entries(card.versions).map((pair) => pair.join(" ")).join(", ")]
    .filter(Boolean).join(" with "));
  const parts: Node[] = has_card ? [] : [make("p", "The file carries no card: its classes have numbers instead of names.")];
  parts.push(...card.notes.split("\n").filter(Boolean).map((text) => make("p", text)));
  const table = scoreTable(card.scores);
  if (table) parts.push(table);
  parts.push(list);
  for (const [title, value] of [["Recipe", card.recipe], ["Data", card.data]] as const) {
    if (!Object.keys(value).length) continue;
    parts.push(make("details", make("summary", title), make("pre", JSON.stringify(value, null, 1))));
  }
  place.replaceChildren(...parts);
}
