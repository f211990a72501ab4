import type { Claim } from "@proof-of-compute/proto/kinds";
import type { MatmulSpec } from "@proof-of-compute/proto/kinds/matmul";

/** Results in one buffer that changes hands: cloning the arrays of a small one would cost a quarter of its check. */
export interface PackedClaims {
  readonly bytes: Uint8Array<ArrayBuffer>;
  /** n, k and the length of the output, claim after claim; {@link SHARED} as length: the output is the next one of `shared`. */
  readonly shapes: readonly number[];
  /** Outputs in memory that both threads see: uploads, which are too large to be copied on the event loop. */
  readonly shared: readonly Uint8Array[];
}

/** Bytes of a claim before its output: ids, then digests. */
const HEAD_BYTES = 16 + 16 + 32 + 32 + 32;

/** Stands for the length of a shared output. */
const SHARED = -1;

export function packClaims(claims: readonly Claim<MatmulSpec>[]): PackedClaims {
  const isShared = ({ output }: Claim<MatmulSpec>) => output.buffer instanceof SharedArrayBuffer;
  const size = (claim: Claim<MatmulSpec>) => HEAD_BYTES + (isShared(claim) ? 0 : claim.output.length);
  const bytes = Buffer.allocUnsafeSlow(claims.reduce((sum, claim) => sum + size(claim), 0));
  const shapes: number[] = [];
  const shared: Uint8Array[] = [];
  let at = 0;
  const put = (part: Uint8Array) => {
    bytes.set(part, at);
    at += part.length;
  };
  for (const claim of claims) {
    const { assignmentId, taskId, nodeId, specDigest, outputDigest, spec, output } = claim;
    for (const part of [assignmentId, taskId, nodeId, specDigest, outputDigest]) put(part);
    if (isShared(claim)) {
      shared.push(output);
      shapes.push(spec.n, spec.k, SHARED);
    } else {
      put(output);
      shapes.push(spec.n, spec.k, output.length);
    }
  }
  return { bytes, shapes, shared };
}

export function unpackClaims({ bytes, shapes, shared }: PackedClaims): Claim<MatmulSpec>[] {
  const claims: Claim<MatmulSpec>[] = [];
  const uploads = shared.values();
  let at = 0;
  const next = (length: number) => {
    at += length;
    return bytes.subarray(at - length, at);
  };
  for (let i = 0; i < shapes.length; i += 3) {
    claims.push({
      assignmentId: next(16),
      taskId: next(16),
      nodeId: next(32),
      specDigest: next(32),
      outputDigest: next(32),
      spec: { n: shapes[i]!, k: shapes[i + 1]! },
      output: shapes[i + 2] === SHARED ? uploads.next().value! : next(shapes[i + 2]!),
    });
  }
  return claims;
}
