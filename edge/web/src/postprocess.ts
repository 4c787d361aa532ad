/** From a model's scores to results at the picture's size: `seg_edge/postprocess.py` in the browser. */

import type { TensorInfo } from "./api.ts";
import { highest } from "./kernels.ts";
import { bilinear, bilinearFloats, stepsOf, type Bytes, type Numbers } from "./resize.ts";
import { withoutSpecks } from "./specks.ts";

export interface Scores {
  readonly data: Numbers;
  readonly spec: TensorInfo;
  readonly kind: "logits" | "probabilities";
  /** Regions with fewer pixels than this are left out of the label map; 0 keeps all. */
  readonly specks: number;
}

/** One channel of the scores. */
function channel<Kind extends Numbers>(data: Kind, channels: number, index: number): Kind {
  const plane = data.slice(0, data.length / channels) as Kind;
  for (let i = 0, at = index; i < plane.length; i++, at += channels) plane[i] = data[at]!;
  return plane;
}

/** Scores resized bilinearly. */
export function upsample({ data, spec }: Pick<Scores, "data" | "spec">, width: number, height: number): Numbers {
  const { size_wh: [w, h], channels } = spec;
  if (data instanceof Float32Array) return bilinearFloats({ data, width: w, height: h, channels }, width, height).data;
  return bilinear({ data, width: w, height: h, channels }, width, height).data;
}

/** The most likely class of every pixel; the lower class if two are equal. */
export function labelsOf(scores: Scores, width: number, height: number): Bytes {
  if (scores.specks) return labelsOf(clean(scores), width, height);
  const { data, spec } = scores, [w, h] = spec.size_wh, { channels } = spec;
  if (data instanceof Uint8Array && channels > 1) {
    const planes = Array.from({ length: channels }, (_, index) => channel(data, channels, index));
    return highest(planes, w, stepsOf(w, width, 1), stepsOf(h, height, null));
  }
  const stretched = (index: number): Numbers =>
    upsample({ data: channel(data, channels, index), spec: { ...spec, channels: 1 } }, width, height);
  const best = stretched(0), labels = new Uint8Array(width * height);
  if (channels === 1) {
    let threshold = scores.kind === "probabilities" ? 0.5 : 0;
    if (spec.scale) threshold = threshold / spec.scale + spec.zero_point;
    for (let i = 0; i < labels.length; i++) labels[i] = best[i]! > threshold ? 1 : 0;
    return labels;
  }
  for (let index = 1; index < channels; index++) {
    const plane = stretched(index);
    for (let i = 0; i < labels.length; i++) {
      if (plane[i]! > best[i]!) {
        best[i] = plane[i]!;
        labels[i] = index;
      }
    }
  }
  return labels;
}

/** Scores with the same label map, in which the specks are gone from the scores themselves. */
function clean(scores: Scores): Scores {
  const { spec: { size_wh: [w, h], channels } } = scores, data = scores.data.slice();
  const labels = labelsOf({ ...scores, specks: 0 }, w, h), wanted = withoutSpecks(labels, w, scores.specks);
  let low = Infinity, high = -Infinity;
  for (const value of data) [low, high] = [Math.min(low, value), Math.max(high, value)];
  for (let i = 0, at = 0; i < wanted.length; i++, at += channels) {
    if (wanted[i] === labels[i]) continue;
    if (channels === 1) data[at] = wanted[i] ? high : low;
    else data.fill(low, at, at + channels)[at + wanted[i]!] = high;
  }
  return { ...scores, data, specks: 0 };
}

/** The probability of the background at each of the scores' own pixels. */
export function backgroundOf({ data, spec, kind }: Scores): Float32Array {
  const [w, h] = spec.size_wh, { channels } = spec;
  const real = (at: number): number => (spec.scale ? (data[at]! - spec.zero_point) * spec.scale : data[at]!);
  const result = new Float32Array(w * h);
  for (let i = 0, at = 0; i < result.length; i++, at += channels) {
    if (kind === "probabilities") result[i] = channels === 1 ? 1 - real(at) : real(at);
    else if (channels === 1) result[i] = 1 / (1 + Math.exp(real(at)));
    else {
      let sum = 0;
      for (let c = 0; c < channels; c++) sum += Math.exp(real(at + c) - real(at));
      result[i] = 1 / sum;
    }
  }
  return result;
}

/** Share of the pixels of each class. */
export function sharesOf(labels: Uint8Array, classes: number): number[] {
  const counts = new Uint32Array(256);
  for (let i = 0; i < labels.length; i++) counts[labels[i]!]!++;
  return Array.from(counts.subarray(0, classes), (count) => count / labels.length);
}
