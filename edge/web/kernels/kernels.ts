/**
 * The inner loops of a picture, 16 bytes at a time: AssemblyScript, built into WebAssembly by `build.mjs`.
 *
 * All arguments that end in `At` are addresses in the module's memory; `src/kernels.ts` fills it. Rows are written and
 * read in steps of 16 bytes, so behind each block of memory there are 16 that nobody needs.
 */

/** A row stretched along, as 16-bit numbers, a sixteenth of their value. Of each pixel `stepsAt` says two offsets and two weights. */
function stretch(rowAt: usize, outAt: usize, width: i32, channels: i32, stepsAt: usize): void {
  for (let x = 0; x < width; x++, stepsAt += 12) {
    const near = rowAt + load<u32>(stepsAt), far = rowAt + load<u32>(stepsAt, 4);
    if (channels == 4) {
      const pairs = i8x16.shuffle(
        v128.load32_zero(near), v128.load32_zero(far), 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23,
      );
      const sums = i32x4.dot_i16x8_s(i16x8.extend_low_i8x16_u(pairs), v128.load32_splat(stepsAt, 8));
      const parts = i32x4.shr_u(sums, 4);
      v128.store64_lane(outAt, i16x8.narrow_i32x4_s(parts, parts), 0);
      outAt += 8;
    } else {
      const nearer = <i32>load<i16>(stepsAt, 8), farther = <i32>load<i16>(stepsAt, 10);
      for (let c = 0; c < channels; c++, outAt += 2) {
        store<i16>(outAt, <i16>((<i32>load<u8>(near + c) * nearer + <i32>load<u8>(far + c) * farther) >> 4));
      }
    }
  }
}

/** The upper 16 bits of products. */
// @ts-ignore: decorator
@inline
function times(numbers: v128, weight: v128): v128 {
  const low = i32x4.extmul_low_i16x8_s(numbers, weight), high = i32x4.extmul_high_i16x8_s(numbers, weight);
  return i8x16.shuffle(low, high, 2, 3, 6, 7, 10, 11, 14, 15, 18, 19, 22, 23, 26, 27, 30, 31);
}

/** Two stretched rows mixed into one of bytes. */
function mix(aboveAt: usize, belowAt: usize, nearer: i16, farther: i16, outAt: usize, count: i32): void {
  const near = i16x8.splat(nearer), far = i16x8.splat(farther), two = i16x8.splat(2);
  for (let i = 0; i < count; i += 16, aboveAt += 32, belowAt += 32, outAt += 16) {
    const first = i16x8.add(times(v128.load(aboveAt), near), times(v128.load(belowAt), far));
    const second = i16x8.add(times(v128.load(aboveAt, 16), near), times(v128.load(belowAt, 16), far));
    v128.store(outAt, i8x16.narrow_i16x8_u(i16x8.shr_s(i16x8.add(first, two), 2), i16x8.shr_s(i16x8.add(second, two), 2)));
  }
}

/**
 * Bytes stretched bilinearly, as OpenCV does it.
 *
 * @param stride Bytes of a row of the source.
 * @param acrossAt Of each column: the offsets of two pixels in a row (u32), and their weights in 2048ths (i16).
 * @param downAt Of each row: the numbers of two rows (u32), and their weights (i16).
 * @param rowsAt Room for two rows of 16-bit numbers, each a multiple of 32 bytes.
 */
export function bilinear(
  sourceAt: usize, stride: i32, channels: i32, width: i32, height: i32, acrossAt: usize, downAt: usize, rowsAt: usize, outAt: usize,
): void {
  const count = width * channels, room = (count * 2 + 31) & ~31;
  let even = -1, odd = -1; // the rows that are there already
  for (let y = 0; y < height; y++, downAt += 12, outAt += count) {
    const above = load<i32>(downAt), below = load<i32>(downAt, 4);
    for (let k = 0; k < 2; k++) {
      const row = k ? below : above;
      if ((row & 1 ? odd : even) == row) continue;
      stretch(sourceAt + row * stride, rowsAt + (row & 1) * room, width, channels, acrossAt);
      if (row & 1) odd = row;
      else even = row;
    }
    mix(rowsAt + (above & 1) * room, rowsAt + (below & 1) * room, load<i16>(downAt, 8), load<i16>(downAt, 10), outAt, count);
  }
}

/** Means of 2x2 pixels of four bytes each; both sides are even. Behind the result there are 8 bytes that nobody needs. */
export function halve(sourceAt: usize, width: i32, height: i32, outAt: usize): void {
  const two = i16x8.splat(2), stride = width << 2;
  for (let y = 0; y < height; y += 2, sourceAt += stride << 1, outAt += stride >> 1) {
    for (let x = 0; x < stride; x += 16) {
      const above = v128.load(sourceAt + x), below = v128.load(sourceAt + stride + x);
      const first = i16x8.add(i16x8.extend_low_i8x16_u(above), i16x8.extend_low_i8x16_u(below));
      const second = i16x8.add(i16x8.extend_high_i8x16_u(above), i16x8.extend_high_i8x16_u(below));
      const left = i8x16.shuffle(first, second, 0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23);
      const right = i8x16.shuffle(first, second, 8, 9, 10, 11, 12, 13, 14, 15, 24, 25, 26, 27, 28, 29, 30, 31);
      const means = i16x8.shr_u(i16x8.add(i16x8.add(left, right), two), 2);
      v128.store64_lane(outAt + (x >> 1), i8x16.narrow_i16x8_u(means, means), 0);
    }
  }
}

/** Where a class's scores are higher than the best so far, they are the best, and the class is the label. */
export function keepBest(bestAt: usize, scoresAt: usize, labelsAt: usize, label: i32, count: i32): void {
  const mine = i8x16.splat(<i8>label);
  for (let i: usize = 0; i < <usize>count; i += 16) {
    const best = v128.load(bestAt + i), scores = v128.load(scoresAt + i);
    v128.store(labelsAt + i, v128.bitselect(mine, v128.load(labelsAt + i), i8x16.gt_u(scores, best)));
    v128.store(bestAt + i, i8x16.max_u(scores, best));
  }
}

/** Of each pixel the share of foreground among the 3x3 around it, of 255. `lineAt` is room for a row and 32 bytes more. */
export function softAlpha(labelsAt: usize, width: i32, height: i32, lineAt: usize, outAt: usize): void {
  const one = i8x16.splat(1), ninths = i8x16(0, 28, 57, 85, 113, -114, -86, -58, -29, -1, 0, 0, 0, 0, 0, 0);
  for (let y = 0; y < height; y++, labelsAt += width, outAt += width) {
    const above = y ? labelsAt - width : labelsAt, below = y + 1 < height ? labelsAt + width : labelsAt;
    for (let x = 0; x < width; x += 16) {
      const outer = i8x16.add(i8x16.min_u(v128.load(above + x), one), i8x16.min_u(v128.load(below + x), one));
      v128.store(lineAt + x + 1, i8x16.add(outer, i8x16.min_u(v128.load(labelsAt + x), one)));
    }
    store<u8>(lineAt, load<u8>(lineAt + 1)); // beside a picture is what its outermost pixels are
    store<u8>(lineAt + width + 1, load<u8>(lineAt + width));
    for (let x = 0; x < width; x += 16) {
      const sums = i8x16.add(i8x16.add(v128.load(lineAt + x), v128.load(lineAt + x + 1)), v128.load(lineAt + x + 2));
      v128.store(outAt + x, i8x16.swizzle(ninths, sums));
    }
  }
}
