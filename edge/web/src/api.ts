/** What the server says: its models, their tensors and its limits. */

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

/** A refusal of the server's, in its own words. */
export class Refused extends Error {
  constructor(readonly status: number, detail: string) {
    super(detail);
  }
}

/** What the server answers, with the token, or a `Refused`. */
export async function ask(url: string, token: string, options: RequestInit = {}): Promise<Response> {
  const headers = new Headers(options.headers);
  if (token) headers.set("Authorization", `Bearer ${token}`);
  let response: Response;
  try {
    response = await fetch(url, { ...options, headers });
  } catch {
    throw new Refused(0, "The server doesn't answer: it was stopped, or the network is gone.");
  }
  if (response.ok) return response;
  const problem: { detail?: string } = await response.json().catch(() => ({}));
  throw new Refused(response.status, problem.detail ?? `The server answered ${response.status}.`);
}
