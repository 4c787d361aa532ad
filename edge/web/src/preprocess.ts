/** From a picture to the model's input tensor: `seg_edge/preprocess.py` in the browser, equal to it in every byte. */

import { bilinear, byArea, halve, type Plane } from "./resize.ts";

/** Stretches RGB to the model's input, as `resize_to_input` does. */
export function resizeToInput(picture: Plane, width: number, height: number): Plane {
  if (picture.width === width && picture.height === height) return picture;
  if (picture.width < width || picture.height < height) return bilinear(picture, width, height);
  return halve(resizeNear(picture, 2 * width, 2 * height));
}

function resizeNear(picture: Plane, width: number, height: number): Plane {
  const across = picture.width / width, down = picture.height / height;
  const evenAcross = picture.width % 2 === 0, evenDown = picture.height % 2 === 0;
  if (Math.min(across, down) >= 2 && evenAcross && evenDown) return resizeNear(halve(picture), width, height);
  if (across > 2 && evenAcross) return resizeNear(bilinear(picture, picture.width / 2, picture.height), width, height);
  if (down > 2 && evenDown) return resizeNear(bilinear(picture, picture.width, picture.height / 2), width, height);
  const shrinks = Math.max(across, down) > 2 && Math.min(across, down) >= 1;
  return shrinks ? byArea(picture, width, height) : bilinear(picture, width, height);
}
