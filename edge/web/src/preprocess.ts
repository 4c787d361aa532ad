/** From a picture to the model's input tensor: `seg_edge/preprocess.py` in the browser, equal to it in every byte. */

import type { TensorInfo } from "./api.ts";
import { bilinear, bilinearHalved, byArea, halve, round, type Numbers, type Plane } from "./resize.ts";

/** Stretches RGB to the model's input, as `resize_to_input` does. */
export function resizeToInput(picture: Plane, width: number, height: number): Plane {
  if (picture.width === width && picture.height === height) return picture;
  if (picture.width < width || picture.height < height) return bilinear(picture, width, height);
  return shrink(picture, width, height);
}

/** Shrinks a picture as `resizeToInput` does; no side may grow. */
export function shrink(picture: Plane, width: number, height: number): Plane {
  return resizeNear(picture, 2 * width, 2 * height, true);
}

/** Resizes a picture: bilinearly where no side shrinks to less than half, else by area; `half` then takes means of 2x2 pixels. */
export function resizeNear(picture: Plane, width: number, height: number, half = false): Plane {
  const across = picture.width / width, down = picture.height / height;
  const evenAcross = picture.width % 2 === 0, evenDown = picture.height % 2 === 0;
  if (Math.min(across, down) >= 2 && evenAcross && evenDown) return resizeNear(halve(picture), width, height, half);
  if (across > 2 && evenAcross) return resizeNear(bilinear(picture, picture.width / 2, picture.height), width, height, half);
  if (down > 2 && evenDown) return resizeNear(bilinear(picture, picture.width, picture.height / 2), width, height, half);
  const shrinks = Math.max(across, down) > 2 && Math.min(across, down) >= 1;
  if (half) return shrinks ? halve(byArea(picture, width, height)) : bilinearHalved(picture, width, height);
  return shrinks ? byArea(picture, width, height) : bilinear(picture, width, height);
}

/** The numbers a tensor stores for each value a pixel may have, as `Preprocessor` does it in Python. */
export function tableOf(spec: TensorInfo, scale: number, offset: number): Numbers {
  const real = Array.from({ length: 256 }, (_, pixel) => pixel * scale + offset);
  if (spec.dtype === "float32") return Float32Array.from(real);
  const step = spec.scale || 1;
  return Uint8Array.from(real, (value) => Math.min(Math.max(round(value / step) + spec.zero_point, 0), 255));
}

/** The input tensor of a picture in RGBA: resized, its alpha dropped, each number looked up. */
export function toTensor(picture: Plane, spec: TensorInfo, table: Numbers): Numbers {
  const [width, height] = spec.size_wh;
  const { data } = resizeToInput(picture, width, height);
  const count = width * height;
  const tensor = table instanceof Float32Array ? new Float32Array(3 * count) : new Uint8Array(3 * count);
  for (let i = 0, from = 0, to = 0; i < count; i++, from += 4, to += 3) {
    tensor[to] = table[data[from]!]!;
    tensor[to + 1] = table[data[from + 1]!]!;
    tensor[to + 2] = table[data[from + 2]!]!;
  }
  return tensor;
}
