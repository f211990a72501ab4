import { openKeystream, sha256 } from "#crypto";
import { WASM } from "../../../gen/kernel/kinds/matmul.ts";
import { equal, type Hex, toHex } from "../../bytes.ts";
import { checkMatmulSpec, FIELD, FREIVALDS_COLUMNS, freivaldsKey, type MatmulTask, matrixKey } from "./matmul.ts";
import { referenceCheck, referenceProduct } from "./reference.ts";

/** SHA-256 of the WebAssembly kernel of this version. */
export function kernelDigest(): Hex {
  return toHex(sha256(new TextEncoder().encode(WASM)));
}

/** The exports of kernel/kinds/matmul.ts. All arguments are addresses and counts. */
interface Kernel {
  readonly memory: WebAssembly.Memory;
  inRange(bytes: number, length: number): number;
  packLeft(bytes: number, packed: number, rows: number, depth: number): void;
  packRight(bytes: number, packed: number, from: number, rows: number, depth: number, columns: number): void;
  multiply(
    left: number,
    right: number,
    product: number,
    sums: number,
    rows: number,
    depth: number,
    columns: number,
  ): void;
}

/** Rows per step: that part of the left operand stays in the second-level cache while the whole right operand passes. */
const STRIP = 64;

/** Bytes of an element in a packed operand. */
const PACKED = 2;

/** Scratch memory of `multiply` for a strip. */
const SUMS_BYTES = STRIP * 64;

/** Memory that an idle kernel may keep. WebAssembly memory never shrinks, so a larger kernel is dropped. */
const KEPT_BYTES = 8 << 20;

const PAGE = 1 << 16;

/** Multiply-accumulates between two calls of `report`, about 5 ms. */
const REPORT_EVERY = 2 ** 27;

/** The part of Node's `process` used here. Browsers have none. */
interface NodeProcess {
  readonly versions: { readonly node: string };
  getBuiltinModule(id: "node:v8"): { setFlagsFromString(flags: string): void };
}

/**
 * Lets V8 merge pairs of 128-bit operations into 256-bit ones where the processor has them, at nearly twice the speed. Node 24
 * has this behind a flag, browsers not at all; docs/adr/webassembly-kernels.md says why it is safe to use.
 */
function widenVectors(): void {
  const { process } = globalThis as { process?: NodeProcess };
  if (!process?.versions.node.startsWith("24.")) return;
  process.getBuiltinModule("node:v8").setFlagsFromString("--experimental-wasm-revectorize");
}

widenVectors();

/** Null where WebAssembly or its SIMD instructions are missing. */
const module = (() => {
  try {
    return new WebAssembly.Module(Uint8Array.from(atob(WASM), (character) => character.charCodeAt(0)));
  } catch {
    return null;
  }
})();

let idle: Kernel | undefined;

/** Runs `work` on a kernel with at least `bytes` of memory. Returns undefined where there is no kernel. */
function withKernel<T>(bytes: number, work: (kernel: Kernel, memory: Uint8Array) => T): T | undefined {
  if (module === null) return undefined;
  const kernel = idle ?? (new WebAssembly.Instance(module).exports as unknown as Kernel);
  // Taken while it works: `report` may start another task.
  idle = undefined;
  const missing = bytes - kernel.memory.buffer.byteLength;
  if (missing > 0) kernel.memory.grow(Math.ceil(missing / PAGE));
  const result = work(kernel, new Uint8Array(kernel.memory.buffer));
  if (kernel.memory.buffer.byteLength <= KEPT_BYTES) idle = kernel;
  return result;
}

/** Writes the rows of a derived matrix to `address`, one strip at a time. The bytes are not reduced yet. */
function eachStrip(
  key: Uint8Array,
  { from, to }: Rows,
  columns: number,
  memory: Uint8Array,
  address: number,
  use: (row: number) => void,
): void {
  const next = openKeystream(key, from * columns);
  for (let row = from; row < to; row += STRIP) {
    memory.set(next(STRIP * columns), address);
    use(row);
  }
}

/**
 * The product A_1 … A_k, n*n bytes, row-major. `report` is called every 5 to 50 ms, and not at all for short tasks. The result is
 * null when it returned false.
 */
export function computeProduct(task: MatmulTask, report?: (fraction: number) => boolean): Uint8Array | null {
  return computeRows(task, { from: 0, to: task.n }, report);
}

/** A range of rows of a product. Both ends are multiples of 64. */
export interface Rows {
  readonly from: number;
  readonly to: number;
}

/**
 * Some rows of the product of {@link computeProduct}. They depend on the same rows of A_1 and on all other matrices, so
 * several threads can share a product without communicating.
 */
export function computeRows(
  task: MatmulTask,
  { from, to }: Rows,
  report?: (fraction: number) => boolean,
): Uint8Array | null {
  const { seed, n, k } = task;
  checkMatmulSpec(n, k);
  const left = 0;
  const right = left + (to - from) * n * PACKED;
  const sums = right + n * n * PACKED;
  const strip = sums + SUMS_BYTES;
  const stripPacked = STRIP * n * PACKED;
  const product = withKernel(strip + STRIP * n, (kernel, memory) => {
    const output = new Uint8Array((to - from) * n);
    let done = 0;
    let reported = 0;
    eachStrip(matrixKey(seed, 1), { from, to }, n, memory, strip, (row) => {
      kernel.packLeft(strip, left + ((row - from) / STRIP) * stripPacked, STRIP, n);
    });
    for (let i = 2; i <= k; i++) {
      eachStrip(matrixKey(seed, i), { from: 0, to: n }, n, memory, strip, (row) => {
        kernel.packRight(strip, right, row, STRIP, n, n);
      });
      for (let row = 0; row < to - from; row += STRIP) {
        // Rows of the product depend only on the same rows of the left operand, so they can replace them.
        const rows = left + (row / STRIP) * stripPacked;
        kernel.multiply(rows, right, strip, sums, STRIP, n, n);
        if (i < k) kernel.packLeft(strip, rows, STRIP, n);
        else output.set(memory.subarray(strip, strip + STRIP * n), row * n);
        done += STRIP * n * n;
        if (report !== undefined && done - reported >= REPORT_EVERY) {
          reported = done;
          if (!report(done / ((k - 1) * (to - from) * n * n))) return null;
        }
      }
    }
    return output;
  });
  if (product !== undefined) return product;
  return referenceProduct(task, report)?.subarray(from * n, to * n) ?? null;
}

/**
 * Whether an output is the task's product. Checks its length, its range, and Freivalds' equation, which a wrong product passes
 * with probability at most 2^-112. The caller has checked that `outputDigest` is the SHA-256 of the output. `report` is called
 * after each matrix.
 */
export function checkProduct(
  task: MatmulTask,
  output: Uint8Array,
  outputDigest: Uint8Array,
  report?: (fraction: number) => void,
): boolean {
  const { seed, n, k } = task;
  checkMatmulSpec(n, k);
  if (output.length !== n * n) return false;
  const columns = FREIVALDS_COLUMNS;
  const all: Rows = { from: 0, to: n };
  const left = 0;
  const right = left + STRIP * n * PACKED;
  const product = right + n * columns * PACKED;
  const sums = product + n * columns;
  const strip = sums + SUMS_BYTES;
  const verdict = withKernel(strip + STRIP * n, (kernel, memory) => {
    for (let row = 0; row < n; row += STRIP) {
      memory.set(output.subarray(row * n, (row + STRIP) * n), strip);
      if (!kernel.inRange(strip, STRIP * n)) return false;
    }
    const multiplyStrip = (row: number) => {
      kernel.packLeft(strip, left, STRIP, n);
      kernel.multiply(left, right, product + row * columns, sums, STRIP, n, columns);
    };
    eachStrip(freivaldsKey(seed, outputDigest), all, columns, memory, strip, (row) => {
      kernel.packRight(strip, right, row, STRIP, n, columns);
    });
    const random = memory.slice(right, product);
    for (let i = k; i >= 1; i--) {
      eachStrip(matrixKey(seed, i), all, n, memory, strip, multiplyStrip);
      if (i > 1) kernel.packRight(product, right, 0, n, n, columns);
      report?.((k - i + 1) / (k + 1));
    }
    const expected = memory.slice(product, sums);
    memory.set(random, right);
    for (let row = 0; row < n; row += STRIP) {
      memory.set(output.subarray(row * n, (row + STRIP) * n), strip);
      multiplyStrip(row);
    }
    return equal(expected, memory.subarray(product, sums));
  });
  return verdict ?? (output.every((element) => element < FIELD) && referenceCheck(task, output, outputDigest));
}
