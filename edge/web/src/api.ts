/** The server's API: its models, their tensors and its limits. */

import { Fault, Locked } from "./fault.ts";

export interface TensorInfo {
  readonly size_wh: readonly [number, number];
  readonly channels: number;
  readonly dtype: string;
  readonly scale: number;
  readonly zero_point: number;
}

export interface ClassInfo {
  readonly name: string;
  readonly colour: readonly [number, number, number];
}

export interface Card {
  readonly name: string;
  readonly version: string;
  readonly classes: readonly ClassInfo[];
  readonly input_size_wh: readonly [number, number];
  readonly scale: number;
  readonly offset: number;
  readonly output: "logits" | "probabilities";
  readonly specks?: number;
  readonly parent_sha256: string;
  readonly recipe: Record<string, unknown>;
  readonly data: Record<string, unknown>;
  readonly versions: Record<string, string>;
  readonly scores: Record<string, unknown>;
  readonly licence: string;
  readonly created: string;
  readonly notes: string;
}

export interface ModelInfo {
  readonly name: string;
  readonly sha256: string;
  readonly bytes: number;
  readonly url: string;
  /** The user's own model file, which the server doesn't have. */
  readonly file?: Blob;
  readonly has_card: boolean;
  readonly input: TensorInfo;
  readonly output: TensorInfo;
  readonly card: Card;
}

export interface Listing {
  readonly models: readonly ModelInfo[];
  readonly limits: { readonly bytes: number; readonly pixels: number };
  readonly on_server: boolean;
}

const PATIENCE_MS = 300_000; // enough for a class of thirty

/**
 * The server's response, or a `Fault`. A busy server is asked again after the time it names plus a random delay, so that
 * waiting clients don't all come back at once.
 */
export async function ask(
  url: string, token: string, options: RequestInit = {}, waiting: (seconds: number) => void = () => undefined,
): Promise<Response> {
  const headers = new Headers(options.headers), until = performance.now() + PATIENCE_MS;
  if (token) headers.set("Authorization", `Bearer ${token}`);
  for (;;) {
    const response = await fetch(url, { ...options, headers }).catch(() => {
      throw new Fault("gone");
    });
    if (response.ok) return response;
    const { status } = response, after = Number(response.headers.get("Retry-After")) || 0;
    if (status === 401) throw new Locked(token ? "tokenWrong" : "tokenNeeded");
    if (!after) {
      const { detail }: { detail?: string } = await response.json().catch(() => ({}));
      throw detail ? new Fault("refused", { detail }) : new Fault("answered", { status });
    }
    const seconds = after * (1 + Math.random());
    if (performance.now() + 1000 * seconds > until) throw new Fault("busy");
    waiting(Math.ceil(seconds));
    await new Promise((resolve) => setTimeout(resolve, 1000 * seconds));
  }
}
