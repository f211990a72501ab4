import type { Address, Hex, TaskKindName } from "@proof-of-compute/proto";
import type { Receipt } from "../domain/receipt.ts";
import type { Page, PageQuery } from "./pages.ts";

/** Receipts without a batch, except those in quarantine, and when the oldest was accepted. */
export interface Unbatched {
  readonly count: number;
  readonly oldestAcceptedAt?: number;
}

/** Receipts. TaskStore.saveTask makes them, and nothing removes them. */
export interface ReceiptStore {
  receipt(id: Hex): Promise<Receipt | null>;
  /** Ordered by receipt id, which is by time. */
  receipts(
    query: PageQuery & { readonly provider?: Address; readonly batchId?: number; readonly quarantined?: true },
  ): Promise<Page<Receipt>>;
  /**
   * Receipts without a batch, except those in quarantine, oldest first: by acceptedAt, then id. With `kinds`, only
   * receipts of these kinds.
   */
  unbatchedReceipts(limit: number, kinds?: readonly TaskKindName[]): Promise<Receipt[]>;
  /** Counts those receipts, of all kinds. Cheap. */
  unbatched(): Promise<Unbatched>;
  /** Receipts accepted before `before` that still have their result, oldest first: by acceptedAt, then id. */
  receiptsWithResult(before: number, limit: number): Promise<Receipt[]>;
  /**
   * Forgets the results of these receipts, and their outputs in the store; the receipts stay. Safe to repeat: a later
   * task that took the id of a pruned one keeps its output.
   */
  forgetResults(receipts: readonly Pick<Receipt, "receiptId" | "taskId">[]): Promise<void>;
  /**
   * Those of the digests whose blob has to stay: a receipt of which the result was not forgotten has it. Results that are
   * stored with their task may be left out, since they are no blobs. Sees every receipt whose save resolved, anywhere.
   */
  referredDigests(digests: readonly Hex[]): Promise<Hex[]>;
  /** Puts every receipt without a batch that was accepted before `before` into quarantine; returns their number. */
  quarantineReceipts(before: number): Promise<number>;
  /** Takes receipts out of quarantine, so that a batch may carry them. */
  releaseReceipts(ids: readonly Hex[]): Promise<void>;
}
