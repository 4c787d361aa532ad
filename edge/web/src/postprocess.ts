/** From a model's scores to answers at the picture's size: `seg_edge/postprocess.py` in the browser. */

import type { TensorInfo } from "./api.ts";
import { bilinear, bilinearFloats, type Bytes, type Numbers } from "./resize.ts";

export interface Scores {
  readonly data: Numbers;
  readonly spec: TensorInfo;
  readonly kind: "logits" | "probabilities";
}

/** One channel of the scores, stretched. */
function channel({ data, spec }: Scores, index: number, width: number, height: number): Numbers {
  const [w, h] = spec.size_wh, { channels } = spec;
  const plane = data instanceof Float32Array ? new Float32Array(w * h) : new Uint8Array(w * h);
  for (let i = 0, at = index; i < plane.length; i++, at += channels) plane[i] = data[at]!;
  return upsample({ data: plane, spec: { ...spec, channels: 1 } }, width, height);
}

/** Scores stretched to another size, bilinearly. */
export function upsample({ data, spec }: Pick<Scores, "data" | "spec">, width: number, height: number): Numbers {
  const { size_wh: [w, h], channels } = spec;
  if (data instanceof Float32Array) return bilinearFloats({ data, width: w, height: h, channels }, width, height).data;
  return bilinear({ data, width: w, height: h, channels }, width, height).data;
}

/** The most likely class of every pixel; the lower class where two are equal. */
export function labelsOf(scores: Scores, width: number, height: number): Bytes {
  const { spec } = scores;
  const best = channel(scores, 0, width, height);
  const labels = new Uint8Array(width * height);
  if (spec.channels === 1) {
    let threshold = scores.kind === "probabilities" ? 0.5 : 0;
    if (spec.scale) threshold = threshold / spec.scale + spec.zero_point;
    for (let i = 0; i < labels.length; i++) labels[i] = best[i]! > threshold ? 1 : 0;
    return labels;
  }
  for (let index = 1; index < spec.channels; index++) {
    const plane = channel(scores, index, width, height);
    for (let i = 0; i < labels.length; i++) {
      if (plane[i]! > best[i]!) {
        best[i] = plane[i]!;
        labels[i] = index;
      }
    }
  }
  return labels;
}

/** The probability of the background at each of the scores' own pixels. */
export function backgroundOf({ data, spec, kind }: Scores): Float32Array {
  const [w, h] = spec.size_wh, { channels } = spec;
  const real = (at: number): number => (spec.scale ? (data[at]! - spec.zero_point) * spec.scale : data[at]!);
  return Float32Array.from({ length: w * h }, (_, i) => {
    const at = i * channels;
    if (kind === "probabilities") return channels === 1 ? 1 - real(at) : real(at);
    if (channels === 1) return 1 / (1 + Math.exp(real(at)));
    let sum = 0;
    for (let c = 0; c < channels; c++) sum += Math.exp(real(at + c) - real(at));
    return 1 / sum;
  });
}

/** Share of the pixels of each class. */
export function sharesOf(labels: Uint8Array, classes: number): number[] {
  const counts = new Uint32Array(256);
  for (let i = 0; i < labels.length; i++) counts[labels[i]!]!++;
  return Array.from(counts.subarray(0, classes), (count) => count / labels.length);
}
