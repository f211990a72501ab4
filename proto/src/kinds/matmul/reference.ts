import { keystream } from "#crypto";
import { checkMatmulSpec, FIELD, FREIVALDS_COLUMNS, freivaldsKey, type MatmulTask, matrixKey } from "./matmul.ts";

// The definition of matmul tasks in plain code: the oracle of the tests, and the fallback without WebAssembly SIMD.

function elements(key: Uint8Array, count: number): Uint8Array {
  return keystream(key, count).map((byte) => byte % FIELD);
}

/** left (n x n) times right (n x columns), row-major. Stops when `proceed`, called after each row, returns false. */
function multiply(
  left: Uint8Array,
  right: Uint8Array,
  n: number,
  columns: number,
  proceed?: (rows: number) => boolean,
): Uint8Array {
  const product = new Uint8Array(n * columns);
  const row = new Int32Array(columns);
  for (let i = 0; i < n; i++) {
    row.fill(0);
    for (let j = 0; j < n; j++) {
      const factor = left[i * n + j]!;
      for (let column = 0; column < columns; column++) row[column]! += factor * right[j * columns + column]!;
    }
    for (let column = 0; column < columns; column++) product[i * columns + column] = row[column]! % FIELD;
    if (proceed?.(i + 1) === false) break;
  }
  return product;
}

/** The product A_1 … A_k. Null when `report`, called after every row, returned false. */
export function referenceProduct(task: MatmulTask): Uint8Array;
export function referenceProduct(task: MatmulTask, report?: (fraction: number) => boolean): Uint8Array | null;
export function referenceProduct(task: MatmulTask, report?: (fraction: number) => boolean): Uint8Array | null {
  const { seed, n, k } = task;
  checkMatmulSpec(n, k);
  let stopped = false;
  let product = elements(matrixKey(seed, 1), n * n);
  for (let i = 2; i <= k && !stopped; i++) {
    product = multiply(product, elements(matrixKey(seed, i), n * n), n, n, (rows) => {
      stopped = report?.(((i - 2) * n + rows) / ((k - 1) * n)) === false;
      return !stopped;
    });
  }
  return stopped ? null : product;
}

/** Freivalds' check of an output of the right length and range. */
export function referenceCheck(task: MatmulTask, output: Uint8Array, outputDigest: Uint8Array): boolean {
  const { seed, n, k } = task;
  const random = elements(freivaldsKey(seed, outputDigest), n * FREIVALDS_COLUMNS);
  let expected = random;
  for (let i = k; i >= 1; i--) expected = multiply(elements(matrixKey(seed, i), n * n), expected, n, FREIVALDS_COLUMNS);
  const claimed = multiply(output, random, n, FREIVALDS_COLUMNS);
  return claimed.every((element, at) => element === expected[at]);
}
