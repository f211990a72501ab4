import type { Address, Hex } from "@proof-of-compute/proto";

/**
 * - `closed`: stored, not known to the chain.
 * - `included`: the chain's head holds its root; a reorg may still take it back to `closed`.
 * - `recorded`: the finalized block holds its root. Final.
 */
export type BatchState = "closed" | "included" | "recorded";

/** What a batch adds to one wallet. */
export interface Credit {
  readonly provider: Address;
  readonly units: bigint;
}

/** Receipts that go to the chain together. Everything but `state`, `transaction` and `block` is immutable. */
export interface Batch {
  /** The contract's batch id, from 1, without gaps. */
  readonly id: number;
  /** Root of the StandardMerkleTree over the receipts' leaves. */
  readonly root: Hex;
  /** One a provider, in order of address. */
  readonly credits: readonly Credit[];
  /** In order of the tree's input; their leaves make `root`. */
  readonly receiptIds: readonly Hex[];
  /** Sum of the credits. */
  readonly units: bigint;
  readonly closedAt: number;
  readonly state: BatchState;
  /** The transaction that recorded it, as far as known. */
  readonly transaction?: Hex;
  /** Number of the block that holds the transaction, as far as known. */
  readonly block?: number;
}
