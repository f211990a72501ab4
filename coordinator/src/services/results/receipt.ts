import { toHex } from "@proof-of-compute/proto";
import type { Receipt, SignatureProof } from "../../domain/receipt.ts";
import type { ActiveAssignment } from "../fleet/active-assignment.ts";

/** What a receipt of an accepted result is made of. */
export interface AcceptedResult {
  readonly assignment: Pick<ActiveAssignment, "id" | "nodeId" | "wallet" | "task" | "work">;
  /** SHA-256 of the task's spec, as the node signed it. */
  readonly specDigest: Uint8Array;
  /** SHA-256 of the output, as the node signed it. */
  readonly outputDigest: Uint8Array;
  readonly proof: SignatureProof;
  readonly units: bigint;
  /** Milliseconds since 1970. */
  readonly acceptedAt: number;
}

/** The receipt of an accepted result; it credits the wallet that the assignment was made for. */
export function makeReceipt({ assignment, specDigest, outputDigest, ...accepted }: AcceptedResult): Receipt {
  const { id, nodeId, wallet, task, work } = assignment;
  return {
    receiptId: id,
    taskId: task.id,
    nodeId,
    provider: wallet,
    requester: task.requester,
    kind: task.kind,
    assurance: work.kind.protocol.assurance,
    specDigest: toHex(specDigest),
    spec: toHex(task.spec),
    resultDigest: toHex(outputDigest),
    ...accepted,
  };
}
