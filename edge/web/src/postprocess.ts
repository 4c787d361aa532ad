/** From a model's scores to answers at the picture's size: `seg_edge/postprocess.py` in the browser. */

import type { TensorInfo } from "./api.ts";
import { bilinear, bilinearFloats, round, type Bytes, type Numbers } from "./resize.ts";

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
  return stretch(plane, w, h, width, height);
}

function stretch(data: Numbers, w: number, h: number, width: number, height: number): Numbers {
  if (data instanceof Float32Array) return bilinearFloats({ data, width: w, height: h, channels: 1 }, width, height).data;
  return bilinear({ data, width: w, height: h, channels: 1 }, width, height).data;
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

/** How much of each pixel is foreground, 255 for all: for soft edges. */
export function alphaOf(scores: Scores, width: number, height: number): Bytes {
  const { data, spec, kind } = scores;
  const [w, h] = spec.size_wh, { channels } = spec;
  const real = (at: number): number => (spec.scale ? (data[at]! - spec.zero_point) * spec.scale : data[at]!);
  const alpha = new Uint8Array(w * h);
  for (let i = 0, at = 0; i < alpha.length; i++, at += channels) {
    let background: number;
    if (kind === "probabilities") background = channels === 1 ? 1 - real(at) : real(at);
    else if (channels === 1) background = 1 / (1 + Math.exp(real(at)));
    else {
      let sum = 0;
      for (let c = 0; c < channels; c++) sum += Math.exp(real(at + c) - real(at));
      background = 1 / sum;
    }
    alpha[i] = Math.min(Math.max(round((1 - background) * 255), 0), 255);
  }
  return stretch(alpha, w, h, width, height) as Bytes;
}

/** Share of the pixels of each class. */
export function sharesOf(labels: Uint8Array, classes: number): number[] {
  const counts = new Array<number>(classes).fill(0);
  for (const label of labels) counts[label] = (counts[label] ?? 0) + 1;
  return counts.map((count) => count / labels.length);
}
