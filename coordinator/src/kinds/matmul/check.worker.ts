import { equal, sha256 } from "@proof-of-compute/proto";
import { checkProduct, FIELD, productOf } from "@proof-of-compute/proto/kinds/matmul";
import { type PackedClaims, unpackClaims } from "./packed-claims.ts";

/** Why a result is refused; undefined: it is right, but for the chance that docs/reference/verification.md bounds. */
export type Refusal = "WRONG_LENGTH" | "DIGEST_MISMATCH" | "OUT_OF_RANGE" | "WRONG_PRODUCT" | undefined;

/** Judges results, cheap checks first. Runs in the threads of the check pool. */
export default function judge(packed: PackedClaims): Refusal[] {
  return unpackClaims(packed).map((claim) => {
    const { output, outputDigest, spec } = claim;
    if (output.length !== spec.n ** 2) return "WRONG_LENGTH";
    if (!equal(sha256(output), outputDigest)) return "DIGEST_MISMATCH";
    if (checkProduct(productOf(claim), output, outputDigest)) return undefined;
    // The check starts with the range; here it only tells the reasons apart.
    return output.some((element) => element >= FIELD) ? "OUT_OF_RANGE" : "WRONG_PRODUCT";
  });
}
