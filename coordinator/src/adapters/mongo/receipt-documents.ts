import type { Address, AssuranceName, Hex, TaskKindName } from "@proof-of-compute/proto";
import type { Receipt, SignatureProof } from "../../domain/receipt.ts";
import { MIXED, schemaOf, UNITS } from "./schema.ts";

/** The immutable content of a receipt. */
export interface ReceiptContent {
  readonly task_id: Hex;
  readonly node_id: Hex;
  readonly provider: Address;
  readonly requester: Address;
  readonly kind: TaskKindName;
  readonly assurance: AssuranceName;
  readonly spec_digest: Hex;
  readonly spec: Hex;
  readonly result_digest: Hex;
  readonly units: bigint;
  readonly accepted_at: number;
  readonly proof: SignatureProof;
}

export interface ReceiptDocument extends ReceiptContent {
  readonly _id: Hex;
  /** Absent while no batch carries the receipt. */
  readonly batch_id?: number;
  /** Set while a batch may carry the receipt: it has no batch, and is not in quarantine. */
  readonly free?: true;
  readonly quarantined?: true;
  /** Its result was not forgotten. */
  readonly has_result?: true;
}

export const receiptSchema = schemaOf<ReceiptDocument>({
  _id: String,
  task_id: String,
  node_id: String,
  provider: String,
  requester: String,
  kind: String,
  assurance: String,
  spec_digest: String,
  spec: String,
  result_digest: String,
  units: UNITS,
  accepted_at: Number,
  proof: MIXED,
  batch_id: Number,
  free: Boolean,
  quarantined: Boolean,
  has_result: Boolean,
})
  .index({ provider: 1, _id: 1 }, { name: "by_provider" })
  .index({ batch_id: 1, _id: 1 }, { name: "by_batch", partialFilterExpression: { batch_id: { $exists: true } } })
  .index({ free: 1, accepted_at: 1, _id: 1, units: 1 }, { name: "free", partialFilterExpression: { free: true } })
  .index({ quarantined: 1, _id: 1 }, { name: "quarantined", partialFilterExpression: { quarantined: true } })
  .index(
    { has_result: 1, accepted_at: 1, _id: 1 },
    { name: "with_result", partialFilterExpression: { has_result: true } },
  )
  .index({ has_result: 1, result_digest: 1 }, { name: "referring", partialFilterExpression: { has_result: true } });

export function contentOf(receipt: Receipt): ReceiptContent {
  return {
    task_id: receipt.taskId,
    node_id: receipt.nodeId,
    provider: receipt.provider,
    requester: receipt.requester,
    kind: receipt.kind,
    assurance: receipt.assurance,
    spec_digest: receipt.specDigest,
    spec: receipt.spec,
    result_digest: receipt.resultDigest,
    units: receipt.units,
    accepted_at: receipt.acceptedAt,
    proof: receipt.proof,
  };
}

/** The document of a receipt that is copied from its task. */
export function newReceipt(id: Hex, content: ReceiptContent): ReceiptDocument {
  return { _id: id, ...content, free: true, has_result: true };
}

export function fromContent(receiptId: Hex, content: ReceiptContent): Receipt {
  return {
    receiptId,
    taskId: content.task_id,
    nodeId: content.node_id,
    provider: content.provider,
    requester: content.requester,
    kind: content.kind,
    assurance: content.assurance,
    specDigest: content.spec_digest,
    spec: content.spec,
    resultDigest: content.result_digest,
    units: content.units,
    acceptedAt: content.accepted_at,
    proof: content.proof,
  };
}

export function toReceipt(document: ReceiptDocument): Receipt {
  return {
    ...fromContent(document._id, document),
    ...(document.batch_id !== undefined && { batchId: document.batch_id }),
    ...(document.quarantined && { quarantined: true }),
  };
}
