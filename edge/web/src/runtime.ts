/** LiteRT in a worker: loads the WebAssembly, compiles and runs a model. */

import { loadAndCompile, loadLiteRt, Tensor, type CompiledModel } from "@litertjs/core";

import { ask, type ModelInfo } from "./api.ts";
import { Fault } from "./fault.ts";
import type { Numbers } from "./resize.ts";

/** Set by the build: each variant's files and the bytes of its WebAssembly. */
declare const VARIANTS: Record<"threaded" | "compat", { readonly js: string; readonly wasm: string; readonly bytes: number }>;

const MAX_THREADS = 4; // small models gain nothing from more
const ROOT = new URL("..", self.location.href); // this file is in the page's folder `assets`

export type Progress = (done: number, total: number) => void;

// (module (func (result v128) i32.const 0 i8x16.splat i8x16.popcnt))
const SIMD = [0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0, 10, 10, 1, 8, 0, 65, 0, 253, 15, 253, 98, 11];
// (module (func (result v128) i32.const 1 i8x16.splat i32.const 2 i8x16.splat i8x16.relaxed_swizzle))
const RELAXED_SIMD = [0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0, 10, 15, 1, 13, 0, 65, 1, 253, 15, 65, 2,
  253, 15, 253, 128, 2, 11];

/** The variant for this browser: threads need shared memory, and their build uses relaxed SIMD. */
export async function variant(): Promise<"threaded" | "compat"> {
  const supports = (module: number[]): boolean => WebAssembly.validate(Uint8Array.from(module));
  if (typeof OffscreenCanvas === "undefined" || !supports(SIMD)) {
    throw new Fault("old");
  }
  return self.crossOriginIsolated && supports(RELAXED_SIMD) ? "threaded" : "compat";
}

/** The addresses that a variant loads. */
export function filesOf(name: "threaded" | "compat"): string[] {
  return [VARIANTS[name].js, VARIANTS[name].wasm].map((path) => new URL(path, ROOT).href);
}

/** The number of threads with which a variant runs a model. */
export function threadsOf(name: "threaded" | "compat"): number {
  return name === "threaded" ? Math.min(navigator.hardwareConcurrency || 1, MAX_THREADS) : 1;
}

/** Loads LiteRT; once. */
export async function start(name: "threaded" | "compat", progress: Progress): Promise<void> {
  const [js, wasm] = filesOf(name) as [string, string], { bytes } = VARIANTS[name];
  const response = await ask(wasm, "");
  const content = new Uint8Array(bytes);
  let at = 0;
  for (const reader = response.body!.getReader(); ; ) {
    const { done, value } = await reader.read();
    if (done) break;
    content.set(value, at);
    at += value.length;
    progress(at, bytes);
  }
  // LiteRT.js opens a GPU device even if it isn't used, as here.
  Object.defineProperty(navigator, "gpu", { value: { requestAdapter: async () => null }, configurable: true });
  Object.assign(self, {
    Module: {
      wasmBinary: content,
      mainScriptUrlOrBlob: js, // its threads start from it
      printErr: (text: string) => (text.startsWith("INFO") ? undefined : console.warn(text)),
    },
  });
  await loadLiteRt(js);
}

/** A model that runs here. */
export class Running {
  private constructor(private readonly model: CompiledModel, private readonly shape: number[]) {}

  static async open(info: ModelInfo, token: string): Promise<Running> {
    for (const { dtype } of [info.input, info.output]) {
      if (dtype !== "uint8" && dtype !== "float32") throw new Fault("dtype", { name: info.name, dtype });
    }
    const source = info.file ?? (await ask(info.url, token));
    const content = new Uint8Array(await source.arrayBuffer());
    const options = { accelerator: "wasm", cpuOptions: { numThreads: threadsOf("threaded") } } as const;
    const model = await loadAndCompile(content, options).catch((error: unknown) => {
      throw new Fault("wrongModel", { name: info.name, reason: String(error).split("\n")[0]! });
    });
    return new Running(model, [1, info.input.size_wh[1], info.input.size_wh[0], 3]);
  }

  /** The scores, in the output's dtype. */
  async run(data: Numbers): Promise<Numbers> {
    const input = Tensor.fromTypedArray(data, this.shape);
    try {
      const [output] = await this.model.run([input]);
      const scores = output!.toTypedArray() as Numbers;
      output!.delete();
      return scores;
    } finally {
      input.delete();
    }
  }

  close(): void {
    this.model.delete();
  }
}
