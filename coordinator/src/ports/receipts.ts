import type { Address, Hex, TaskKindName } from "@proof-of-compute/proto";
import type { Receipt } from "../domain/receipt.ts";
import type { Page, PageQuery } from "./pages.ts";

/** Receipts that no batch carries yet, those in quarantine left out, and when the oldest was accepted. */
export interface Unbatched {
  readonly count: number;
  readonly oldestAcceptedAt?: number;
}

/** Receipts, which are made by TaskStore.saveTask and never removed. */
export interface ReceiptStore {
  receipt(id: Hex): Promise<Receipt | null>;
  /** By receipt id, which is by time. */
  receipts(
    query: PageQuery & { readonly provider?: Address; readonly batchId?: number; readonly quarantined?: true },
  ): Promise<Page<Receipt>>;
  /**
   * Receipts that no batch carries, those in quarantine left out, oldest first: by acceptedAt, then id. With `kinds`,
   * only receipts of these.
   */
  unbatchedReceipts(limit: number, kinds?: readonly TaskKindName[]): Promise<Receipt[]>;
  /** How many those of every kind are. Cheap. */
  unbatched(): Promise<Unbatched>;
  /** Receipts accepted before `before` whose result was not forgotten, oldest first: by acceptedAt, then id. */
  receiptsWithResult(before: number, limit: number): Promise<Receipt[]>;
  /**
   * Forgets the results of these receipts, and their outputs in the store; the receipts stay. Safe to repeat: a later task
   * that took the id of a pruned one keeps its output.
   */
  forgetResults(receipts: readonly Pick<Receipt, "receiptId" | "taskId">[]): Promise<void>;
  /**
   * Those of the digests whose blob has to stay: a receipt of which the result was not forgotten has it. Results that are
   * stored with their task may be left out, since they are no blobs. Sees every receipt whose save resolved, anywhere.
   */
  referredDigests(digests: readonly Hex[]): Promise<Hex[]>;
  /** Puts every receipt that no batch carries and that was accepted before `before` into quarantine; returns how many. */
  quarantineReceipts(before: number): Promise<number>;
  /** Takes receipts out of quarantine: a batch may carry them. */
  releaseReceipts(ids: readonly Hex[]): Promise<void>;
}
