import type { Batch, BatchState } from "../domain/batch.ts";
import type { Page, PageQuery } from "./pages.ts";

/** Batches of receipts, closed for the chain. */
export interface BatchStore {
  /**
   * Closes a batch: stores it and stamps its receipts, all or nothing. False, and nothing written, unless its id follows
   * the last one (1 at first) and each of its receipts is stored, unstamped and not in quarantine. An `imported` batch
   * has no receipts and is stored in the state that it has.
   */
  insertBatch(batch: Batch): Promise<boolean>;
  /**
   * Updates what may change of a batch; its content never does. An absent `transaction` or `block` stays as it is,
   * but that a `closed` batch is in no block. With `from`, it is changed only while it is in that state, and false otherwise:
   * who was paused since it read the batch takes nothing back. Throws NOT_FOUND for an unknown id.
   */
  updateBatch(id: number, change: Pick<Batch, "state" | "transaction" | "block">, from?: BatchState): Promise<boolean>;
  /**
   * Removes the last batch if it is `closed`, and frees its receipts. False, and nothing changed, otherwise. For
   * `npm run reconcile` alone, after the chain was found to hold another batch of that id.
   */
  withdrawBatch(id: number): Promise<boolean>;
  batch(id: number): Promise<Batch | null>;
  /** Newest first, without `receiptIds` (empty there); with `unrecorded` those alone that are not recorded. */
  batches(query: PageQuery & { readonly unrecorded?: true }): Promise<Page<Batch>>;
}
