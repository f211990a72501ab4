import type { Batch, BatchState } from "../domain/batch.ts";
import type { Page, PageQuery } from "./pages.ts";

/** Batches of receipts, closed for the chain. */
export interface BatchStore {
  /**
   * Closes a batch: stores it and stamps its receipts, all or nothing. Returns false, with nothing written, unless its id
   * follows the last one (the first is 1) and each of its receipts is stored, unstamped and not in quarantine. An
   * `imported` batch has no receipts and keeps its state.
   */
  insertBatch(batch: Batch): Promise<boolean>;
  /**
   * Updates the state of a batch, and where it was recorded. An absent `transaction` or `block` stays as it is, except
   * that a `closed` batch is in no block. With `from`, changes only a batch in that state and returns false otherwise, so
   * that a coordinator that was paused undoes nothing. Throws NOT_FOUND for an unknown id.
   */
  updateBatch(id: number, change: Pick<Batch, "state" | "transaction" | "block">, from?: BatchState): Promise<boolean>;
  /**
   * Removes the last batch if it is `closed`, and frees its receipts; otherwise returns false and changes nothing. Only
   * `npm run reconcile` calls this, when the chain holds another batch of that id.
   */
  withdrawBatch(id: number): Promise<boolean>;
  batch(id: number): Promise<Batch | null>;
  /** Newest first, with empty `receiptIds`; with `unrecorded`, only batches that are not recorded. */
  batches(query: PageQuery & { readonly unrecorded?: true }): Promise<Page<Batch>>;
}
