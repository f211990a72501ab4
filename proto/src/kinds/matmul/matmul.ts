import { sha256 } from "#crypto";

/** Limits of a matmul task. */
export const MATMUL_LIMITS = { nMin: 64, nMax: 4096, nStep: 64, kMin: 2, kMax: 64 } as const;

/** The field F_251: the largest prime below 256, so that an element is a byte. */
export const FIELD = 251;

/** Columns of Freivalds' matrix R. A wrong product passes with probability at most (2/256)^16 = 2^-112. */
export const FREIVALDS_COLUMNS = 16;

/** The check's error probability is at most 2 to the power of minus this number. */
export const FREIVALDS_ERROR_BITS = 7 * FREIVALDS_COLUMNS;

/** A product A_1 … A_k of n x n matrices, all derived from the seed. */
export interface MatmulTask {
  /** Of {@link matmulSeed}, 32 bytes. */
  readonly seed: Uint8Array;
  readonly n: number;
  readonly k: number;
}

const ascii = (text: string) => new TextEncoder().encode(text);

const SEED = ascii("proof-of-compute/seed/v1");
const MATRIX = ascii("proof-of-compute/matmul/v1");
const FREIVALDS = ascii("proof-of-compute/freivalds/v1");

/** Throws a RangeError for an impossible size or count. */
export function checkMatmulSpec(n: number, k: number): void {
  const { nMin, nMax, nStep, kMin, kMax } = MATMUL_LIMITS;
  if (!Number.isInteger(n) || n < nMin || n > nMax || n % nStep !== 0) {
    throw new RangeError(`n is a multiple of ${nStep} from ${nMin} to ${nMax}, not ${n}`);
  }
  if (!Number.isInteger(k) || k < kMin || k > kMax) {
    throw new RangeError(`k is a whole number from ${kMin} to ${kMax}, not ${k}`);
  }
}

/** Compute units of a task: one per 2^18 multiply-accumulates of the schoolbook algorithm. */
export function matmulUnits(n: number, k: number): bigint {
  checkMatmulSpec(n, k);
  return BigInt(k - 1) * BigInt(n / 64) ** 3n;
}

/** The seed of all matrices. It follows from who computes what, so nobody can choose it. */
export function matmulSeed(assignment: {
  readonly assignmentId: Uint8Array;
  readonly taskId: Uint8Array;
  readonly nodeId: Uint8Array;
  readonly specDigest: Uint8Array;
}): Uint8Array {
  return sha256(SEED, assignment.assignmentId, assignment.taskId, assignment.nodeId, assignment.specDigest);
}

/** The AES key of matrix A_i, i from 1. */
export function matrixKey(seed: Uint8Array, i: number): Uint8Array {
  return sha256(MATRIX, seed, Uint8Array.of(i >>> 24, i >>> 16, i >>> 8, i)).subarray(0, 16);
}

/** The AES key of Freivalds' matrix R. It depends on the result, so nobody can choose the result to fit R. */
export function freivaldsKey(seed: Uint8Array, outputDigest: Uint8Array): Uint8Array {
  return sha256(FREIVALDS, seed, outputDigest).subarray(0, 16);
}
