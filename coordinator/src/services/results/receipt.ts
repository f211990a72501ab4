import { toHex } from "@proof-of-compute/proto";
import type { Receipt, SignatureProof } from "../../domain/receipt.ts";
import type { Assignment, Task } from "../../domain/task.ts";
import type { CoordinatorKind } from "../../kinds/index.ts";

/** What a receipt of an accepted result is made of. */
export interface AcceptedResult {
  readonly task: Task;
  readonly assignment: Pick<Assignment, "id" | "nodeId" | "wallet">;
  readonly kind: CoordinatorKind;
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
export function makeReceipt({
  task,
  assignment,
  kind,
  specDigest,
  outputDigest,
  ...accepted
}: AcceptedResult): Receipt {
  return {
    receiptId: assignment.id,
    taskId: task.id,
    nodeId: assignment.nodeId,
    provider: assignment.wallet,
    requester: task.requester,
    kind: task.kind,
    assurance: kind.protocol.assurance,
    specDigest: toHex(specDigest),
    spec: toHex(task.spec),
    resultDigest: toHex(outputDigest),
    ...accepted,
  };
}
