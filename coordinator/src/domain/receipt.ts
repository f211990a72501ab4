import type { Address, AssuranceName, Hex, TaskKindName } from "@proof-of-compute/proto";

/** The node's signature over the frame that carried a result, and the path from the result to the signed root. */
export interface SignatureProof {
  /** ed25519 over "proof-of-compute/results/v1" || root. */
  readonly signature: Hex;
  /** Position of the result in its frame, from 0. */
  readonly index: number;
  /** Results in the frame. */
  readonly size: number;
  /** RFC 6962 audit path from the result's leaf to the root, nearest sibling first. */
  readonly path: readonly Hex[];
}

/** One checked result of one node, credited exactly once. Immutable except for `batchId` and `quarantined`. */
export interface Receipt {
  /** The assignment id. */
  readonly receiptId: Hex;
  readonly taskId: Hex;
  readonly nodeId: Hex;
  /** The wallet that is credited. */
  readonly provider: Address;
  readonly requester: Address;
  readonly kind: TaskKindName;
  readonly assurance: AssuranceName;
  /** SHA-256 of the spec bytes. */
  readonly specDigest: Hex;
  /** The spec bytes: nobody can check a receipt without them, and retention removes its task. */
  readonly spec: Hex;
  /** SHA-256 of the output. */
  readonly resultDigest: Hex;
  readonly units: bigint;
  /** Milliseconds since 1970, coordinator's clock. */
  readonly acceptedAt: number;
  readonly proof: SignatureProof;
  /** The batch that carries the receipt to the chain; absent until one does. */
  readonly batchId?: number;
  /**
   * A batch that the store has lost may carry it, so no other batch does until an operator decides. This happens only
   * after a store was restored from a backup.
   */
  readonly quarantined?: true;
}
