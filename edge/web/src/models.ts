/** The choice of a model: by purpose if a family of three is served, else by name. */

import type { Listing, ModelInfo } from "./api.ts";
import { at, megabytes } from "./dom.ts";
import { text } from "./strings.ts";

const choice = at<HTMLSelectElement>("model");
const ROLE = /-(fine|fast)$/;

/** A model's title: `person-fine` is the best of the `person` family. */
function titleOf({ name }: ModelInfo, models: readonly ModelInfo[]): string {
  const bases = new Set(models.map((model) => model.name.replace(ROLE, "")));
  const role = ROLE.exec(name)?.[1] as "fine" | "fast" | undefined, base = name.replace(ROLE, "");
  const family = models.filter((model) => model.name.replace(ROLE, "") === base).length;
  if (family < 2) return name;
  const title = text(role ?? "balanced");
  return bases.size > 1 ? `${base}: ${title}` : title;
}

export class Models {
  private readonly models: ModelInfo[];

  constructor({ models }: Listing) {
    this.models = [...models];
    this.fill(0);
  }

  get current(): ModelInfo {
    return this.models[choice.selectedIndex]!;
  }

  get all(): readonly ModelInfo[] {
    return this.models;
  }

  /** Adds the user's own model, and chooses it. */
  open(model: ModelInfo): void {
    const known = this.models.findIndex(({ url }) => url === model.url);
    if (known < 0) this.models.push(model);
    this.fill(known < 0 ? this.models.length - 1 : known);
  }

  /** Removes a model that could not be loaded, and chooses the previous one. */
  forget(model: ModelInfo, url: string): void {
    this.models.splice(this.models.findIndex((item) => item.url === model.url), 1);
    this.fill(Math.max(this.models.findIndex((item) => item.url === url), 0));
  }

  /** Shows the cost of the chosen model. */
  note(inferenceMs?: number): void {
    const parts = [text("qualityNote", { size: megabytes(this.current.bytes) })];
    if (inferenceMs !== undefined) parts.push(text("qualityTime", { ms: inferenceMs.toFixed(inferenceMs < 10 ? 1 : 0) }));
    at("quality-note").textContent = parts.join(" · ");
  }

  /** Without a network, only models that were loaded can be chosen. */
  async mark(isKept: (url: string) => Promise<boolean>): Promise<void> {
    for (const [i, { url, file }] of this.models.entries()) {
      choice.options[i]!.disabled = !navigator.onLine && !file && !(await isKept(url));
    }
  }

  private fill(selected: number): void {
    choice.replaceChildren(...this.models.map((model) => new Option(titleOf(model, this.models), model.name)));
    choice.selectedIndex = selected;
    at("model-choice").hidden = this.models.length < 2;
    this.note();
  }
}
