/**
 * Reads a `.tflite` file: its tensors, and the card in the zip that is appended to it.
 *
 * Tables and vectors are those of FlatBuffers (https://flatbuffers.dev/internals), the fields' numbers those of
 * TensorFlow's `schema.fbs`. The checks are those of `seg_edge/interpreter.py`, `card.py` and `models/`.
 */

import { strFromU8, unzipSync } from "fflate";

import type { Card, ModelInfo, TensorInfo } from "./api.ts";
import { megabytes } from "./dom.ts";
import { Fault } from "./fault.ts";

const MAX_BYTES = 50_000_000; // more than a phone's browser can hold
const MAX_CARD_BYTES = 1_000_000;
const TYPES: Record<number, string> = { 0: "float32", 3: "uint8", 9: "int8" };
// The palette of `seg_edge/card.py`, for classes without a card.
const PALETTE: readonly [number, number, number][] = [
  [0, 158, 115], [230, 159, 0], [86, 180, 233], [204, 121, 167], [213, 94, 0], [0, 114, 178], [240, 228, 66],
];

/** A table of a flatbuffer. */
class Table {
  constructor(private readonly view: DataView, private readonly at: number) {}

  /** The offset of a field's value; 0 if it is absent. */
  private field(index: number): number {
    const table = this.at - this.view.getInt32(this.at, true), offset = 4 + 2 * index;
    const found = offset < this.view.getUint16(table, true) ? this.view.getUint16(table + offset, true) : 0;
    return found && this.at + found;
  }

  byte(index: number): number {
    const at = this.field(index);
    return at && this.view.getUint8(at);
  }

  table(index: number): Table | null {
    const at = this.field(index);
    return at ? new Table(this.view, at + this.view.getUint32(at, true)) : null;
  }

  /** A vector's items, each read at its offset. */
  items<Item>(index: number, size: number, read: (view: DataView, at: number) => Item): Item[] {
    const field = this.field(index);
    if (!field) return [];
    const at = field + this.view.getUint32(field, true), count = this.view.getUint32(at, true);
    if (count * size > this.view.byteLength) throw new RangeError("a vector is longer than the file");
    return Array.from({ length: count }, (_, i) => read(this.view, at + 4 + i * size));
  }

  tables(index: number): Table[] {
    return this.items(index, 4, (view, at) => new Table(view, at + view.getUint32(at, true)));
  }

  ints(index: number): number[] {
    return this.items(index, 4, (view, at) => view.getInt32(at, true));
  }
}

function tensorOf(table: Table, what: string, wrong: (reason: string) => Fault): TensorInfo {
  const shape = table.ints(0), signature = table.ints(7), dtype = TYPES[table.byte(1)];
  if (signature.slice(1).includes(-1)) throw wrong(`its ${what} has no fixed size`);
  const [batch, height, width, channels] = shape;
  if (shape.length !== 4 || batch !== 1 || Math.min(...shape) < 1) throw wrong(`its ${what} is [${shape.join(", ")}]`);
  if (!dtype) throw wrong(`its ${what} is neither uint8, int8 nor float32`);
  const numbers = table.table(4);
  return {
    size_wh: [width!, height!], channels: channels!, dtype,
    scale: numbers?.items(2, 4, (view, at) => view.getFloat32(at, true))[0] ?? 0,
    zero_point: Number(numbers?.items(3, 8, (view, at) => view.getBigInt64(at, true))[0] ?? 0),
  };
}

function readCard(content: Uint8Array, name: string): Card | null {
  let found: Record<string, Uint8Array>;
  try {
    found = unzipSync(content, { filter: (file) => file.name === "card.json" && file.originalSize <= MAX_CARD_BYTES });
  } catch {
    // Without an archive there is no card, but one that was cut short is damaged.
    const tail = strFromU8(content.subarray(-66_000), true);
    if (tail.includes("PK\x05\x06") || tail.includes("PK\x03\x04")) throw new Fault("damagedCard", { name, reason: "zip" });
    return null;
  }
  if (!found["card.json"]) return null;
  try {
    const card = JSON.parse(strFromU8(found["card.json"])) as Card & { format: number };
    const isText = (value: unknown): boolean => typeof value === "string";
    const isColour = (value: unknown): boolean =>
      Array.isArray(value) && value.length === 3 && value.every((part) => Number.isInteger(part) && part >= 0 && part <= 255);
    if (card.format !== 1) throw new Error(`format ${card.format}`);
    if (card.output !== "logits" && card.output !== "probabilities") throw new Error(`output ${card.output}`);
    if (!Number.isFinite(card.scale) || !Number.isFinite(card.offset)) throw new Error("scale, offset");
    if (card.classes.length < 2 || card.classes.length > 256) throw new Error(`${card.classes.length} classes`);
    if (!card.classes.every((info) => isText(info.name) && isColour(info.colour))) throw new Error("classes");
    const blank = { version: "0", parent_sha256: "", recipe: {}, data: {}, versions: {}, scores: {}, licence: "", created: "", notes: "" };
    return { ...blank, ...card };
  } catch (error) {
    throw new Fault("damagedCard", { name, reason: (error as Error).message });
  }
}

/** As `_default_card` in Python. */
function madeUp(name: string, input: TensorInfo, { channels }: TensorInfo): Card {
  const classes = Array.from({ length: Math.max(channels, 2) }, (_, i) => ({
    name: i ? `class ${i}` : "background", colour: i ? PALETTE[(i - 1) % PALETTE.length]! : [0, 0, 0] as const,
  }));
  return {
    name, version: "0", classes, input_size_wh: input.size_wh, offset: 0, output: channels === 1 ? "probabilities" : "logits",
    scale: input.dtype !== "float32" && !input.scale ? 1 : 1 / 255,
    parent_sha256: "", recipe: {}, data: {}, versions: {}, scores: {}, licence: "", created: "", notes: "",
  };
}

async function sha256Of(content: Uint8Array<ArrayBuffer>): Promise<string> {
  if (!("subtle" in crypto)) return ""; // an address without https
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", content));
  return Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** Reads and checks a user's own model. */
export async function readModel(file: File): Promise<ModelInfo> {
  const name = file.name.replace(/\.tflite$/i, "");
  if (file.size > MAX_BYTES) throw new Fault("largeModel", { name: file.name, size: megabytes(file.size), limit: megabytes(MAX_BYTES) });
  const content = new Uint8Array(await file.arrayBuffer());
  if (content.length < 8 || strFromU8(content.subarray(4, 8), true) !== "TFL3") throw new Fault("noModel", { name: file.name });
  const wrong = (reason: string): Fault => new Fault("wrongModel", { name: file.name, reason });
  let input: TensorInfo, output: TensorInfo;
  try {
    const view = new DataView(content.buffer), graph = new Table(view, view.getUint32(0, true)).tables(2)[0];
    if (!graph) throw wrong("it has no graph");
    const tensors = graph.tables(0), inputs = graph.ints(1), outputs = graph.ints(2);
    if (inputs.length !== 1 || outputs.length !== 1) throw wrong(`it has ${inputs.length} inputs and ${outputs.length} outputs`);
    input = tensorOf(tensors[inputs[0]!]!, "input", wrong);
    output = tensorOf(tensors[outputs[0]!]!, "output", wrong);
  } catch (error) {
    throw error instanceof Fault ? error : new Fault("noModel", { name: file.name });
  }
  if (input.channels !== 3) throw wrong("its input is not a colour picture");
  if (output.channels > 256) throw wrong(`it has ${output.channels} classes`);
  const found = readCard(content, file.name), card = found ?? madeUp(name, input, output);
  if (card.input_size_wh.join() !== input.size_wh.join()) throw wrong(`its card says ${card.input_size_wh.join("×")}`);
  if (output.channels !== card.classes.length && !(output.channels === 1 && card.classes.length === 2)) {
    throw wrong(`its card names ${card.classes.length} classes, and it has ${output.channels} outputs`);
  }
  const sha256 = await sha256Of(content);
  return { name, sha256, bytes: content.length, url: `own:${file.name}:${file.size}:${file.lastModified}`, file, has_card: found !== null, input, output, card };
}
