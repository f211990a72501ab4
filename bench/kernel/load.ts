import { sha256 } from "@proof-of-compute/proto";

/** The task of the kernel bench, computed and checked; sgemm multiplies matrices of the same size. */
export const TASK = { n: 2048, k: 4 } as const;

/** Multiply-accumulates of it. */
export const OPERATIONS = (TASK.k - 1) * TASK.n ** 3;

/** Any assignment: what is computed does not depend on it in any way that shows. */
export const ASSIGNMENT = {
  assignmentId: new Uint8Array(16).fill(1),
  taskId: new Uint8Array(16).fill(2),
  nodeId: new Uint8Array(32).fill(3),
  specDigest: sha256(new Uint8Array()),
} as const;
