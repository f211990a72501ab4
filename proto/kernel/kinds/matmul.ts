// The SIMD kernel of matmul tasks, in AssemblyScript (not TypeScript: outside of tsconfig.json); scripts/generate.ts
// compiles it. It owns no memory: src/kinds/matmul/kernel.ts lays the buffers out and passes their addresses.
//
// Elements come and go as bytes, row-major. Between, they are 16-bit, in the order in which i32x4.dot_i16x8_s wants
// them: it multiplies eight pairs and adds them two by two, so two neighbours along the depth (the summed index) stand
// next to each other.
// - left operand: tiles of 4 rows; in a tile, for every two columns, those two elements of each row (16 bytes).
// - right operand: panels of 16 columns; in a panel, for every two rows, those two elements of each column (64 bytes).
// Sums need no reduction on the way: 250^2 * 4096 < 2^28. They are stored in one place and reduced in another, because
// V8 makes 256-bit operations (src/kinds/matmul/kernel.ts asks for it) only of what ends in stores next to each other.

// asc: --enable simd

const TILE_ROWS: usize = 4;
const PANEL_COLUMNS: usize = 16;
/** Rows of a panel worked on at once: they and a tile's part stay in the first-level cache. */
const BLOCK_DEPTH: usize = 512;
/** Bytes of a row of sums. */
const SUMS: usize = PANEL_COLUMNS * 4;

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
  packed += from * PANEL_COLUMNS * 2;
  for (let column: usize = 0; column < columns; column += PANEL_COLUMNS) {
    let source = bytes + column;
    let target = packed;
    for (const end = source + rows * columns; source < end; source += 2 * columns) {
      const even = reduceBytes(v128.load(source));
      const odd = reduceBytes(v128.load(source + columns));
      const low = v128.shuffle<i8>(even, odd, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
      const high = v128.shuffle<i8>(even, odd, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
      v128.store(target, i16x8.extend_low_i8x16_u(low));
      v128.store(target, i16x8.extend_high_i8x16_u(low), 16);
      v128.store(target, i16x8.extend_low_i8x16_u(high), 32);
      v128.store(target, i16x8.extend_high_i8x16_u(high), 48);
      target += 64;
    }
    packed += panelBytes;
  }
}

/** Adds a tile times a panel, over `depth` (a multiple of 4) of their elements, to four rows of sums. */
function accumulate(left: usize, right: usize, depth: usize, sums: usize): void {
  let sum00 = v128.load(sums);
  let sum01 = v128.load(sums, 16);
  let sum02 = v128.load(sums, 32);
  let sum03 = v128.load(sums, 48);
  let sum10 = v128.load(sums, 64);
  let sum11 = v128.load(sums, 80);
  let sum12 = v128.load(sums, 96);
  let sum13 = v128.load(sums, 112);
  let sum20 = v128.load(sums, 128);
  let sum21 = v128.load(sums, 144);
  let sum22 = v128.load(sums, 160);
  let sum23 = v128.load(sums, 176);
  let sum30 = v128.load(sums, 192);
  let sum31 = v128.load(sums, 208);
  let sum32 = v128.load(sums, 224);
  let sum33 = v128.load(sums, 240);
  for (const end = left + depth * TILE_ROWS * 2; left < end; left += 32) {
    let b0 = v128.load(right);
    let b1 = v128.load(right, 16);
    let b2 = v128.load(right, 32);
    let b3 = v128.load(right, 48);
    let a = v128.load32_splat(left);
    sum00 = i32x4.add(sum00, i32x4.dot_i16x8_s(a, b0));
    sum01 = i32x4.add(sum01, i32x4.dot_i16x8_s(a, b1));
    sum02 = i32x4.add(sum02, i32x4.dot_i16x8_s(a, b2));
    sum03 = i32x4.add(sum03, i32x4.dot_i16x8_s(a, b3));
    a = v128.load32_splat(left, 4);
    sum10 = i32x4.add(sum10, i32x4.dot_i16x8_s(a, b0));
    sum11 = i32x4.add(sum11, i32x4.dot_i16x8_s(a, b1));
    sum12 = i32x4.add(sum12, i32x4.dot_i16x8_s(a, b2));
    sum13 = i32x4.add(sum13, i32x4.dot_i16x8_s(a, b3));
    a = v128.load32_splat(left, 8);
    sum20 = i32x4.add(sum20, i32x4.dot_i16x8_s(a, b0));
    sum21 = i32x4.add(sum21, i32x4.dot_i16x8_s(a, b1));
    sum22 = i32x4.add(sum22, i32x4.dot_i16x8_s(a, b2));
    sum23 = i32x4.add(sum23, i32x4.dot_i16x8_s(a, b3));
    a = v128.load32_splat(left, 12);
    sum30 = i32x4.add(sum30, i32x4.dot_i16x8_s(a, b0));
    sum31 = i32x4.add(sum31, i32x4.dot_i16x8_s(a, b1));
    sum32 = i32x4.add(sum32, i32x4.dot_i16x8_s(a, b2));
    sum33 = i32x4.add(sum33, i32x4.dot_i16x8_s(a, b3));
    b0 = v128.load(right, 64);
    b1 = v128.load(right, 80);
    b2 = v128.load(right, 96);
    b3 = v128.load(right, 112);
    a = v128.load32_splat(left, 16);
    sum00 = i32x4.add(sum00, i32x4.dot_i16x8_s(a, b0));
    sum01 = i32x4.add(sum01, i32x4.dot_i16x8_s(a, b1));
    sum02 = i32x4.add(sum02, i32x4.dot_i16x8_s(a, b2));
    sum03 = i32x4.add(sum03, i32x4.dot_i16x8_s(a, b3));
    a = v128.load32_splat(left, 20);
    sum10 = i32x4.add(sum10, i32x4.dot_i16x8_s(a, b0));
    sum11 = i32x4.add(sum11, i32x4.dot_i16x8_s(a, b1));
    sum12 = i32x4.add(sum12, i32x4.dot_i16x8_s(a, b2));
    sum13 = i32x4.add(sum13, i32x4.dot_i16x8_s(a, b3));
    a = v128.load32_splat(left, 24);
    sum20 = i32x4.add(sum20, i32x4.dot_i16x8_s(a, b0));
    sum21 = i32x4.add(sum21, i32x4.dot_i16x8_s(a, b1));
    sum22 = i32x4.add(sum22, i32x4.dot_i16x8_s(a, b2));
    sum23 = i32x4.add(sum23, i32x4.dot_i16x8_s(a, b3));
    a = v128.load32_splat(left, 28);
    sum30 = i32x4.add(sum30, i32x4.dot_i16x8_s(a, b0));
    sum31 = i32x4.add(sum31, i32x4.dot_i16x8_s(a, b1));
    sum32 = i32x4.add(sum32, i32x4.dot_i16x8_s(a, b2));
    sum33 = i32x4.add(sum33, i32x4.dot_i16x8_s(a, b3));
    right += 128;
  }
  v128.store(sums, sum00);
  v128.store(sums, sum01, 16);
  v128.store(sums, sum02, 32);
  v128.store(sums, sum03, 48);
  v128.store(sums, sum10, 64);
  v128.store(sums, sum11, 80);
  v128.store(sums, sum12, 96);
  v128.store(sums, sum13, 112);
  v128.store(sums, sum20, 128);
  v128.store(sums, sum21, 144);
  v128.store(sums, sum22, 160);
  v128.store(sums, sum23, 176);
  v128.store(sums, sum30, 192);
  v128.store(sums, sum31, 208);
  v128.store(sums, sum32, 224);
  v128.store(sums, sum33, 240);
}

/** Writes a row of sums, reduced, as 16 bytes. */
function reduceRow(sums: usize, product: usize): void {
  const low = i16x8.narrow_i32x4_s(reduceSums(v128.load(sums)), reduceSums(v128.load(sums, 16)));
  const high = i16x8.narrow_i32x4_s(reduceSums(v128.load(sums, 32)), reduceSums(v128.load(sums, 48)));
  v128.store(product, i8x16.narrow_i16x8_u(low, high));
}

/**
 * `rows` rows of a left operand times a right operand of `columns` columns: bytes below 251, row-major. `sums` has room for
 * 64 bytes a row.
 */
export function multiply(
  left: usize,
  right: usize,
  product: usize,
  sums: usize,
  rows: usize,
  depth: usize,
  columns: usize,
): void {
  const panelBytes = depth * PANEL_COLUMNS * 2;
  for (let column: usize = 0; column < columns; column += PANEL_COLUMNS) {
    memory.fill(sums, 0, rows * SUMS);
    for (let from: usize = 0; from < depth; from += BLOCK_DEPTH) {
      const block = min(BLOCK_DEPTH, depth - from);
      for (let row: usize = 0; row < rows; row += TILE_ROWS) {
        const tile = left + (row * depth + from * TILE_ROWS) * 2;
        accumulate(tile, right + from * PANEL_COLUMNS * 2, block, sums + row * SUMS);
      }
    }
    for (let row: usize = 0; row < rows; row++) reduceRow(sums + row * SUMS, product + row * columns + column);
    right += panelBytes;
  }
}
