import type { Address, Hex } from "@proof-of-compute/proto";
import type { Batch, BatchState } from "../../domain/batch.ts";
import { MIXED, schemaOf, UNITS } from "./schema.ts";

export interface BatchDocument {
  /** The batch id. The first insert of an id closes that batch. */
  readonly _id: number;
  readonly root: Hex;
  readonly credits: readonly { readonly provider: Address; readonly units: bigint }[];
  /** 50,000 of them are 2.3 MB. */
  readonly receipt_ids: readonly Hex[];
  /** Number of `receipt_ids`. */
  readonly receipts: number;
  readonly imported: boolean;
  readonly units: bigint;
  readonly closed_at: number;
  readonly state: BatchState;
  readonly transaction_hash?: Hex;
  readonly block?: number;
  /** Whether all its receipts are stamped. */
  readonly stamped?: true;
  /** Being removed: it no longer counts as a batch, but its id is still taken. */
  readonly withdrawn?: true;
  /** Lets a writer recognize its own write. */
  readonly write_id: string;
}

export const batchSchema = schemaOf<BatchDocument>({
  _id: Number,
  root: String,
  credits: MIXED,
  receipt_ids: [String],
  receipts: Number,
  imported: Boolean,
  units: UNITS,
  closed_at: Number,
  state: String,
  transaction_hash: String,
  block: Number,
  stamped: Boolean,
  withdrawn: Boolean,
  write_id: String,
}).index({ state: 1, imported: 1, receipts: 1, units: 1 }, { name: "sums" });

export function newBatch(batch: Batch, token: string): BatchDocument {
  return {
    _id: batch.id,
    root: batch.root,
    credits: batch.credits.map(({ provider, units }) => ({ provider, units })),
    receipt_ids: batch.receiptIds,
    receipts: batch.receiptIds.length,
    imported: batch.imported === true,
    units: batch.units,
    closed_at: batch.closedAt,
    state: batch.state,
    ...(batch.transaction !== undefined && { transaction_hash: batch.transaction }),
    ...(batch.block !== undefined && { block: batch.block }),
    ...(batch.receiptIds.length === 0 && { stamped: true }),
    write_id: token,
  };
}

/** The batch of a document; without receipt ids if they were not read. */
export function toBatch(document: Omit<BatchDocument, "receipt_ids"> & Partial<BatchDocument>): Batch {
  const { transaction_hash: transaction, block } = document;
  return {
    id: document._id,
    root: document.root,
    credits: document.credits,
    receiptIds: document.receipt_ids ?? [],
    ...(document.imported && { imported: true }),
    units: document.units,
    closedAt: document.closed_at,
    state: document.state,
    ...(transaction !== undefined && { transaction }),
    ...(block !== undefined && { block }),
  };
}
