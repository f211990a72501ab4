// The SIMD kernel of matmul tasks, in AssemblyScript (not TypeScript: outside of tsconfig.json); scripts/generate.ts
// compiles it. It owns no memory: src/kernel.ts lays the buffers out and passes their addresses.
//
// Elements come and go as bytes, row-major. Between, they are 16-bit, in the order in which i32x4.dot_i16x8_s wants
// them: it multiplies eight pairs and adds them two by two, so two neighbours along the depth (the summed index) stand
// next to each other.
// - left operand: tiles of 4 rows; in a tile, for every two columns, those two elements of each row (16 bytes).
// - right operand: panels of 8 columns; in a panel, for every two rows, those two elements of each column (32 bytes).
// Sums need no reduction on the way: 250^2 * 4096 < 2^28.

const TILE_ROWS: usize = 4;
const PANEL_COLUMNS: usize = 8;

/** Reduces bytes mod 251: x + 5 wraps around to x - 251 exactly when x >= 251. */
function reduceBytes(x: v128): v128 {
  return i8x16.min_u(x, i8x16.add(x, i8x16.splat(5)));
}

/**
 * Reduces sums below 2^28 mod 251, to 0..250. The quotient is rounded to the nearest integer by adding 1.5 * 2^23 as a
 * float, whose low bits then hold it; float errors leave the remainder within +-170, which one addition puts right.
 */
function reduceSums(x: v128): v128 {
  const quotient = f32x4.add(f32x4.mul(f32x4.convert_i32x4_s(x), f32x4.splat(1.0 / 251.0)), f32x4.splat(12582912.0));
  const remainder = i32x4.sub(x, i32x4.mul(i32x4.sub(quotient, i32x4.splat(0x4b400000)), i32x4.splat(251)));
  return i32x4.min_u(remainder, i32x4.add(remainder, i32x4.splat(251)));
}

/** Whether every byte is an element; `length` is a multiple of 16. */
export function inRange(bytes: usize, length: usize): bool {
  let largest = i8x16.splat(0);
  for (let at: usize = 0; at < length; at += 16) largest = i8x16.max_u(largest, v128.load(bytes + at));
  return !v128.any_true(i8x16.gt_u(largest, i8x16.splat(<i8>250)));
}

/** Packs `rows` rows of `depth` bytes, reduced mod 251 on the way, as a left operand. */
export function packLeft(bytes: usize, packed: usize, rows: usize, depth: usize): void {
  for (let row: usize = 0; row < rows; row += TILE_ROWS) {
    let source = bytes + row * depth;
    for (const end = source + depth; source < end; source += 8) {
      // Pairs of two elements are lanes of 32 bits: four rows by four lanes are transposed.
      const a = i16x8.extend_low_i8x16_u(reduceBytes(v128.load64_zero(source)));
      const b = i16x8.extend_low_i8x16_u(reduceBytes(v128.load64_zero(source + depth)));
      const c = i16x8.extend_low_i8x16_u(reduceBytes(v128.load64_zero(source + 2 * depth)));
      const d = i16x8.extend_low_i8x16_u(reduceBytes(v128.load64_zero(source + 3 * depth)));
      const abLow = v128.shuffle<i32>(a, b, 0, 4, 1, 5);
      const abHigh = v128.shuffle<i32>(a, b, 2, 6, 3, 7);
      const cdLow = v128.shuffle<i32>(c, d, 0, 4, 1, 5);
      const cdHigh = v128.shuffle<i32>(c, d, 2, 6, 3, 7);
      v128.store(packed, v128.shuffle<i64>(abLow, cdLow, 0, 2));
      v128.store(packed, v128.shuffle<i64>(abLow, cdLow, 1, 3), 16);
      v128.store(packed, v128.shuffle<i64>(abHigh, cdHigh, 0, 2), 32);
      v128.store(packed, v128.shuffle<i64>(abHigh, cdHigh, 1, 3), 48);
      packed += 64;
    }
  }
}

/**
 * Packs rows `from` to `from + rows` (even numbers) of a matrix of `depth` rows and `columns` columns (a multiple of 16),
 * reduced mod 251 on the way, as a part of a right operand. `bytes` points to row `from`.
 */
export function packRight(bytes: usize, packed: usize, from: usize, rows: usize, depth: usize, columns: usize): void {
  const panelBytes = depth * PANEL_COLUMNS * 2;
  for (let column: usize = 0; column < columns; column += 2 * PANEL_COLUMNS) {
    let source = bytes + column;
    let left = packed + (column / PANEL_COLUMNS) * panelBytes + from * PANEL_COLUMNS * 2;
    let right = left + panelBytes;
    for (const end = source + rows * columns; source < end; source += 2 * columns) {
      const even = reduceBytes(v128.load(source));
      const odd = reduceBytes(v128.load(source + columns));
      const low = v128.shuffle<i8>(even, odd, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
      const high = v128.shuffle<i8>(even, odd, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
      v128.store(left, i16x8.extend_low_i8x16_u(low));
      v128.store(left, i16x8.extend_high_i8x16_u(low), 16);
      v128.store(right, i16x8.extend_low_i8x16_u(high));
      v128.store(right, i16x8.extend_high_i8x16_u(high), 16);
      left += 32;
      right += 32;
    }
  }
}

/** Writes 8 sums, reduced, as 8 bytes. */
function storeRow(address: usize, low: v128, high: v128): void {
  const words = i16x8.narrow_i32x4_s(reduceSums(low), reduceSums(high));
  v128.store64_lane(address, i8x16.narrow_i16x8_u(words, words), 0);
}

/** `rows` rows of a left operand times a right operand of `columns` columns: bytes below 251, row-major. */
export function multiply(left: usize, right: usize, product: usize, rows: usize, depth: usize, columns: usize): void {
  const tileBytes = depth * TILE_ROWS * 2;
  const panelBytes = depth * PANEL_COLUMNS * 2;
  for (let column: usize = 0; column < columns; column += PANEL_COLUMNS) {
    let a = left;
    for (let row: usize = 0; row < rows; row += TILE_ROWS) {
      let b = right;
      let low0 = i32x4.splat(0);
      let low1 = i32x4.splat(0);
      let low2 = i32x4.splat(0);
      let low3 = i32x4.splat(0);
      let high0 = i32x4.splat(0);
      let high1 = i32x4.splat(0);
      let high2 = i32x4.splat(0);
      let high3 = i32x4.splat(0);
      for (const end = a + tileBytes; a < end; a += 32) {
        let low = v128.load(b);
        let high = v128.load(b, 16);
        let pair = v128.load32_splat(a);
        low0 = i32x4.add(low0, i32x4.dot_i16x8_s(pair, low));
        high0 = i32x4.add(high0, i32x4.dot_i16x8_s(pair, high));
        pair = v128.load32_splat(a, 4);
        low1 = i32x4.add(low1, i32x4.dot_i16x8_s(pair, low));
        high1 = i32x4.add(high1, i32x4.dot_i16x8_s(pair, high));
        pair = v128.load32_splat(a, 8);
        low2 = i32x4.add(low2, i32x4.dot_i16x8_s(pair, low));
        high2 = i32x4.add(high2, i32x4.dot_i16x8_s(pair, high));
        pair = v128.load32_splat(a, 12);
        low3 = i32x4.add(low3, i32x4.dot_i16x8_s(pair, low));
        high3 = i32x4.add(high3, i32x4.dot_i16x8_s(pair, high));
        low = v128.load(b, 32);
        high = v128.load(b, 48);
        pair = v128.load32_splat(a, 16);
        low0 = i32x4.add(low0, i32x4.dot_i16x8_s(pair, low));
        high0 = i32x4.add(high0, i32x4.dot_i16x8_s(pair, high));
        pair = v128.load32_splat(a, 20);
        low1 = i32x4.add(low1, i32x4.dot_i16x8_s(pair, low));
        high1 = i32x4.add(high1, i32x4.dot_i16x8_s(pair, high));
        pair = v128.load32_splat(a, 24);
        low2 = i32x4.add(low2, i32x4.dot_i16x8_s(pair, low));
        high2 = i32x4.add(high2, i32x4.dot_i16x8_s(pair, high));
        pair = v128.load32_splat(a, 28);
        low3 = i32x4.add(low3, i32x4.dot_i16x8_s(pair, low));
        high3 = i32x4.add(high3, i32x4.dot_i16x8_s(pair, high));
        b += 64;
      }
      const target = product + row * columns + column;
      storeRow(target, low0, high0);
      storeRow(target + columns, low1, high1);
      storeRow(target + 2 * columns, low2, high2);
      storeRow(target + 3 * columns, low3, high3);
    }
    right += panelBytes;
  }
}
