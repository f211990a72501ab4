import { openKeystream, sha256 } from "#crypto";
import { WASM } from "../../../gen/kernel/kinds/matmul.ts";
import { equal, type Hex, toHex } from "../../bytes.ts";
import { checkMatmulSpec, FIELD, FREIVALDS_COLUMNS, freivaldsKey, type MatmulTask, matrixKey } from "./matmul.ts";
import { referenceCheck, referenceProduct } from "./reference.ts";

/** SHA-256 of the kernel that this version computes with. */
export function kernelDigest(): Hex {
  return toHex(sha256(new TextEncoder().encode(WASM)));
}

/** What kernel/kinds/matmul.ts exports; all arguments are addresses and counts. */
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

/** Rows worked on at once: so many of the left operand stay in the second-level cache while all of the right one passes. */
const STRIP = 64;

/** Bytes of an element in a packed operand. */
const PACKED = 2;

/** What `multiply` wants beside its operands for a strip. */
const SUMS_BYTES = STRIP * 64;

/** Memory that an idle kernel may keep; WebAssembly's never shrinks, so a kernel that grew beyond is thrown away. */
const KEPT_BYTES = 8 << 20;

const PAGE = 1 << 16;

/** Multiply-accumulates between two calls of `report`: some 5 ms. */
const REPORT_EVERY = 2 ** 27;

/** What of Node's `process` is used, which browsers don't have. */
interface NodeProcess {
  readonly versions: { readonly node: string };
  getBuiltinModule(id: "node:v8"): { setFlagsFromString(flags: string): void };
}

/**
 * Lets V8 join two operations of 128 bits to one of 256 where the processor has them: nearly twice the speed. Node 24 has
 * that behind a flag, browsers offer no way to it; docs/adr/webassembly-kernels.md says why it may be relied on.
 */
function widenVectors(): void {
  const { process } = globalThis as { process?: NodeProcess };
  if (!process?.versions.node.startsWith("24.")) return;
  process.getBuiltinModule("node:v8").setFlagsFromString("--experimental-wasm-revectorize");
}

widenVectors();

/** Null where there is no WebAssembly with SIMD. */
const module = (() => {
  try {
    return new WebAssembly.Module(Uint8Array.from(atob(WASM), (character) => character.charCodeAt(0)));
  } catch {
    return null;
  }
})();

let idle: Kernel | undefined;

/** Runs `work` on a kernel with so much memory, or returns undefined where there is none. */
function withKernel<T>(bytes: number, work: (kernel: Kernel, memory: Uint8Array) => T): T | undefined {
  if (module === null) return undefined;
  const kernel = idle ?? (new WebAssembly.Instance(module).exports as unknown as Kernel);
  // Not idle while it works, in case `report` starts another task.
  idle = undefined;
  const missing = bytes - kernel.memory.buffer.byteLength;
  if (missing > 0) kernel.memory.grow(Math.ceil(missing / PAGE));
  const result = work(kernel, new Uint8Array(kernel.memory.buffer));
  if (kernel.memory.buffer.byteLength <= KEPT_BYTES) idle = kernel;
  return result;
}

/** Puts rows of a derived matrix strip by strip at `address`; its bytes are not reduced yet. */
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
 * The product A_1 … A_k, n*n bytes, row-major. `report` hears the fraction that is done, every 5 to 50 ms and on short tasks not
 * at all; when it returns false the work stops and null comes back.
 */
export function computeProduct(task: MatmulTask, report?: (fraction: number) => boolean): Uint8Array | null {
  return computeRows(task, { from: 0, to: task.n }, report);
}

/** Rows of a product; both ends are multiples of 64. */
export interface Rows {
  readonly from: number;
  readonly to: number;
}

/**
 * As {@link computeProduct}, but only some of its rows: they follow from the same rows of A_1 and all of the other matrices, so
 * several threads can share a product without a word between them.
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
        // Rows of the product need the same rows of the left operand only, so they may take their place.
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
 * Whether an output is the task's product: its length, then its range, then Freivalds' check, by which a wrong one passes
 * with probability at most 2^-112. `outputDigest` is SHA-256 of the output; that it is, the caller has checked. `report`
 * hears the fraction that is done after each matrix.
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
