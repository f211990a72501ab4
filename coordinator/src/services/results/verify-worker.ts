import { FIELD, matmulSeed, sha256 } from "@proof-of-compute/proto";
import { checkProduct } from "@proof-of-compute/proto/kinds/matmul";
import { type PackedJobs, unpackJobs } from "./check-jobs.ts";

/** Why a result is refused; undefined: it is right, but for the chance that docs/reference/verification.md bounds. */
export type Refusal = "WRONG_LENGTH" | "DIGEST_MISMATCH" | "OUT_OF_RANGE" | "WRONG_PRODUCT" | undefined;

/** Judges results, cheap checks first. Runs in the verifier's worker threads. */
export default function judge(jobs: PackedJobs): Refusal[] {
  return unpackJobs(jobs).map((job) => {
    const { output, outputDigest, n, k } = job;
    if (output.length !== n * n) return "WRONG_LENGTH";
    if (Buffer.compare(sha256(output), outputDigest) !== 0) return "DIGEST_MISMATCH";
    if (checkProduct({ seed: matmulSeed(job), n, k }, output, outputDigest)) return undefined;
    // The check looks at the range first of all; here it only tells the reasons apart.
    return output.some((element) => element >= FIELD) ? "OUT_OF_RANGE" : "WRONG_PRODUCT";
  });
}
