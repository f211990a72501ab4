import { FIELD, matmulSeed, sha256 } from "@proof-of-compute/proto";
import { checkProduct } from "@proof-of-compute/proto/kernel";

/** One result to judge; all that the check needs, in bytes. */
export interface CheckJob {
  readonly assignmentId: Uint8Array;
  readonly taskId: Uint8Array;
  readonly nodeId: Uint8Array;
  readonly specDigest: Uint8Array;
  readonly n: number;
  readonly k: number;
  readonly output: Uint8Array;
  /** What the node signed. */
  readonly outputDigest: Uint8Array;
}

/** Why a result is refused; undefined: it is right, but for the chance that docs/verification.md bounds. */
export type Refusal = "WRONG_LENGTH" | "DIGEST_MISMATCH" | "OUT_OF_RANGE" | "WRONG_PRODUCT" | undefined;

/** Judges results, cheap checks first. Runs in the verifier's worker threads. */
export default function judge(jobs: readonly CheckJob[]): Refusal[] {
  return jobs.map((job) => {
    const { output, outputDigest, n, k } = job;
    if (output.length !== n * n) return "WRONG_LENGTH";
    if (Buffer.compare(sha256(output), outputDigest) !== 0) return "DIGEST_MISMATCH";
    if (checkProduct({ seed: matmulSeed(job), n, k }, output, outputDigest)) return undefined;
    // The check looks at the range first of all; here it only tells the reasons apart.
    return output.some((element) => element >= FIELD) ? "OUT_OF_RANGE" : "WRONG_PRODUCT";
  });
}
