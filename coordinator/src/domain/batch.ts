import {
  type Address,
  ASSURANCES,
  type Hex,
  type ReceiptLeaf,
  TASK_KINDS,
  type TaskKindName,
} from "@proof-of-compute/proto";
import { ComputeError } from "./errors.ts";
import type { Receipt } from "./receipt.ts";

/**
 * - `closed`: stored, not known to the chain.
 * - `included`: the chain's head holds its root; a reorg may still take it back to `closed`.
 * - `recorded`: the finalized block holds its root. Final.
 */
export type BatchState = "closed" | "included" | "recorded";

/** The units that a batch adds to one wallet. */
export interface Credit {
  readonly provider: Address;
  readonly units: bigint;
}

/** Receipts that are recorded on the chain together. Everything but `state`, `transaction` and `block` is immutable. */
export interface Batch {
  /** The contract's batch id, from 1, without gaps. */
  readonly id: number;
  /** Root of the StandardMerkleTree over the receipts' leaves. */
  readonly root: Hex;
  /** One for each provider, ordered by address. */
  readonly credits: readonly Credit[];
  /** In the order in which they entered the tree; their leaves make `root`. Empty in an `imported` batch. */
  readonly receiptIds: readonly Hex[];
  /** Imported from the chain after the store had lost it; its receipts are unknown. */
  readonly imported?: true;
  /** Sum of the credits. */
  readonly units: bigint;
  readonly closedAt: number;
  readonly state: BatchState;
  /** The transaction that recorded it, if known. */
  readonly transaction?: Hex;
  /** Number of the block that holds the transaction, if known. */
  readonly block?: number;
}

/** Kinds that have a number in the leaf. A receipt of a newer coordinator may name another kind. */
export const LEAF_KINDS = Object.keys(TASK_KINDS) as readonly TaskKindName[];

/** The leaf of a receipt. Throws UNAVAILABLE for a kind without a number, which only a newer version knows. */
export function leafOf(receipt: Receipt): ReceiptLeaf {
  if (!LEAF_KINDS.includes(receipt.kind)) {
    throw new ComputeError("UNAVAILABLE", `this version does not know tasks of kind ${receipt.kind}; a newer one does`);
  }
  return {
    receiptId: receipt.receiptId,
    taskId: receipt.taskId,
    nodeId: receipt.nodeId,
    provider: receipt.provider,
    requester: receipt.requester,
    kind: TASK_KINDS[receipt.kind],
    assurance: ASSURANCES[receipt.assurance],
    specDigest: receipt.specDigest,
    resultDigest: receipt.resultDigest,
    units: receipt.units,
    acceptedAt: receipt.acceptedAt,
  };
}

/** The longest prefix of `receipts` that credits at most `maxProviders` wallets. */
export function limitProviders(receipts: readonly Receipt[], maxProviders: number): readonly Receipt[] {
  const providers = new Set<Address>();
  const end = receipts.findIndex(({ provider }) => providers.add(provider).size > maxProviders);
  return end === -1 ? receipts : receipts.slice(0, end);
}

/** A batch of these receipts, closed at `closedAt`; `root` is the root of their tree. */
export function buildBatch(id: number, receipts: readonly Receipt[], root: Hex, closedAt: number): Batch {
  const sums = new Map<Address, bigint>();
  let total = 0n;
  for (const { provider, units } of receipts) {
    sums.set(provider, (sums.get(provider) ?? 0n) + units);
    total += units;
  }
  const credits = [...sums].map(([provider, units]) => ({ provider, units }));
  credits.sort((a, b) => (a.provider.toLowerCase() < b.provider.toLowerCase() ? -1 : 1));
  return {
    id,
    root,
    credits,
    receiptIds: receipts.map(({ receiptId }) => receiptId),
    units: total,
    closedAt,
    state: "closed",
  };
}
