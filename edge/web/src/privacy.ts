/** Hides people irreversibly: `seg_edge/privacy.py` in the browser. */

import { backgroundOf, type Scores } from "./postprocess.ts";
import { bilinear, byArea, type Bytes, type Plane } from "./resize.ts";

const CELLS = 4; // along a region's longer side
const MIN_CELL = 16; // pixels: a smaller region becomes one colour, rather than its own few pixels
const STEP = 32; // between the levels that a colour is rounded to
const LIKELY = 0.25; // lower than the 0.5 of the label map: better to hide some wall than to show a face
const MARGIN = 0.02; // of the picture's longer side

/** Half the width of each row of OpenCV's elliptic structuring element, from its middle row on. */
function ellipse(across: number, down: number): number[] {
  return Array.from({ length: down + 1 }, (_, dy) => Math.round(across * Math.sqrt((down * down - dy * dy) / (down * down || 1))));
}

/** The part to hide, at the scores' size: 255 where a person may be, margin and holes included. */
function hiddenPart(scores: Scores): Plane {
  const [width, height] = scores.spec.size_wh;
  const likely = backgroundOf(scores).map((share) => (share < 1 - LIKELY ? 1 : 0));
  const down = Math.ceil(MARGIN * height), reach = ellipse(Math.ceil(MARGIN * width), down);
  const data = new Uint8Array(width * height);
  for (let y = 0, at = 0; y < height; y++) {
    for (let x = 0; x < width; x++, at++) {
      if (!likely[at]) continue;
      data[at] = 255;
      const inside = x > 0 && x + 1 < width && likely[at - 1] && likely[at + 1] && likely[at - width] && likely[at + width];
      if (inside) continue; // its surroundings reach no farther than those of the rim
      for (let dy = -down; dy <= down; dy++) {
        if (y + dy < 0 || y + dy >= height) continue;
        const half = reach[Math.abs(dy)]!, row = (y + dy) * width;
        data.fill(255, row + Math.max(0, x - half), row + Math.min(width, x + half + 1));
      }
    }
  }
  fillHoles(data, width, height);
  return { data, width, height, channels: 1 };
}

/** Fills holes with 255, in place: zeros that aren't connected to the border through zeros, corners excluded. */
function fillHoles(data: Bytes, width: number, height: number): void {
  const outside = new Uint8Array(data.length), waiting: number[] = [];
  const visit = (x: number, y: number): void => {
    const at = y * width + x;
    if (x < 0 || y < 0 || x >= width || y >= height || data[at] || outside[at]) return;
    outside[at] = 1;
    waiting.push(at);
  };
  for (let x = 0; x < width; x++) [0, height - 1].forEach((y) => visit(x, y));
  for (let y = 0; y < height; y++) [0, width - 1].forEach((x) => visit(x, y));
  for (let at = waiting.pop(); at !== undefined; at = waiting.pop()) {
    const x = at % width, y = (at - x) / width;
    [[x - 1, y], [x + 1, y], [x, y - 1], [x, y + 1]].forEach(([i, j]) => visit(i!, j!));
  }
  for (let i = 0; i < data.length; i++) if (!outside[i]) data[i] = 255;
}

interface Box {
  left: number;
  top: number;
  right: number;
  bottom: number;
}

/** The boxes around regions, connected at corners too. */
function regionsOf({ data, width, height }: Plane): Box[] {
  const seen = new Uint8Array(data.length), boxes: Box[] = [];
  for (let start = 0; start < data.length; start++) {
    if (!data[start] || seen[start]) continue;
    const box = { left: width, top: height, right: 0, bottom: 0 }, waiting = [start];
    seen[start] = 1;
    for (let at = waiting.pop(); at !== undefined; at = waiting.pop()) {
      const x = at % width, y = (at - x) / width;
      box.left = Math.min(box.left, x);
      box.right = Math.max(box.right, x + 1);
      box.top = Math.min(box.top, y);
      box.bottom = Math.max(box.bottom, y + 1);
      for (let j = Math.max(0, y - 1); j <= Math.min(height - 1, y + 1); j++) {
        for (let i = Math.max(0, x - 1); i <= Math.min(width - 1, x + 1); i++) {
          const next = j * width + i;
          if (!data[next] || seen[next]) continue;
          seen[next] = 1;
          waiting.push(next);
        }
      }
    }
    boxes.push(box);
  }
  return boxes;
}

/** The photo, RGBA, with all foreground replaced by a few coarse colours. */
export function hidePeople(photo: Plane, scores: Scores): Bytes {
  const { width, height } = photo, hidden = hiddenPart(scores);
  const down = height / hidden.height, across = width / hidden.width;
  const covered = bilinear(hidden, width, height).data;
  const picture = photo.data.slice(), source = new Uint32Array(photo.data.buffer, photo.data.byteOffset, width * height);
  const target = new Uint32Array(picture.buffer);
  for (const box of regionsOf(hidden)) {
    // Stretched bilinearly, a region reaches into the pixels of the score map around it.
    const top = Math.max(0, Math.floor((box.top - 1) * down)), bottom = Math.min(height, Math.ceil((box.bottom + 1) * down));
    const left = Math.max(0, Math.floor((box.left - 1) * across)), right = Math.min(width, Math.ceil((box.right + 1) * across));
    const w = right - left, h = bottom - top, cell = Math.max(MIN_CELL, Math.max(w, h) / CELLS);
    const part = new Uint32Array(w * h);
    for (let y = 0; y < h; y++) part.set(source.subarray((top + y) * width + left, (top + y) * width + right), y * w);
    const cells = [Math.ceil(w / cell), Math.ceil(h / cell)] as const;
    const mean = byArea({ data: new Uint8Array(part.buffer), width: w, height: h, channels: 4 }, ...cells).data;
    const colours = new Uint32Array(mean.map((value, i) => (i % 4 === 3 ? 255 : value - (value % STEP) + STEP / 2)).buffer);
    const column = Int32Array.from({ length: w }, (_, x) => Math.floor((x * cells[0]) / w));
    for (let y = 0; y < h; y++) {
      const row = Math.floor((y * cells[1]) / h) * cells[0];
      for (let x = 0, at = (top + y) * width + left; x < w; x++, at++) {
        if (covered[at]) target[at] = colours[row + column[x]!]!;
      }
    }
  }
  return picture;
}
