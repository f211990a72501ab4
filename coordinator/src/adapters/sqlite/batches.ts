import type { DatabaseSync, StatementSync } from "node:sqlite";
import type { Hex } from "@proof-of-compute/proto";
import type { Batch, BatchState } from "../../domain/batch.ts";
import { ComputeError } from "../../domain/errors.ts";
import type { Page, PageQuery } from "../../ports/pages.ts";
import { readCursor, toPage } from "../pages.ts";
import type { Receipts } from "./receipts.ts";
import { type Condition, ListQuery } from "./statements.ts";

interface Row {
  readonly _id: number;
  readonly root: Hex;
  readonly state: BatchState;
  /** As text: a JavaScript number would round it above 2^53. */
  readonly units: string;
  readonly closed_at: number;
  readonly transaction_hash: Hex | null;
  readonly block: number | null;
  readonly credits: string;
  readonly imported: number;
  readonly receipt_ids?: string;
}

const SUMMARY = "_id, root, state, CAST(units AS TEXT) AS units, closed_at, transaction_hash, block, credits, imported";
const WHOLE = `${SUMMARY}, receipt_ids`;

/** Batches, and the stamps on their receipts. */
export class Batches {
  readonly #database: DatabaseSync;
  readonly #receipts: Receipts;
  readonly #insert: StatementSync;
  readonly #update: StatementSync;
  readonly #lastId: StatementSync;
  readonly #byId: StatementSync;
  readonly #isLastClosed: StatementSync;
  readonly #delete: StatementSync;
  readonly #list: ListQuery<Row>;

  constructor(database: DatabaseSync, receipts: Receipts) {
    this.#database = database;
    this.#receipts = receipts;
    this.#insert = database.prepare("INSERT INTO batches VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)");
    this.#update = database.prepare(
      `UPDATE batches SET state = ?1, transaction_hash = coalesce(?2, transaction_hash),
       block = iif(?1 = 'closed', NULL, coalesce(?3, block)) WHERE _id = ?4 AND state = coalesce(?5, state)`,
    );
    this.#lastId = database.prepare("SELECT coalesce(max(_id), 0) AS id FROM batches");
    this.#byId = database.prepare(`SELECT ${WHOLE} FROM batches WHERE _id = ?`);
    this.#isLastClosed = database.prepare(
      "SELECT 1 FROM batches WHERE _id = ? AND state = 'closed' AND _id = (SELECT max(_id) FROM batches)",
    );
    this.#delete = database.prepare("DELETE FROM batches WHERE _id = ?");
    this.#list = new ListQuery(database, `SELECT ${SUMMARY} FROM batches`, "_id DESC");
  }

  /** Runs within a transaction. Returns false, without a change, unless the id is next and all receipts are free. */
  insert(batch: Batch): boolean {
    const { id: lastId } = this.#lastId.get() as { id: number };
    if (batch.id !== lastId + 1) return false;
    this.#database.exec("SAVEPOINT batch");
    this.#insert.run(
      batch.id,
      batch.root,
      batch.state,
      batch.units,
      batch.receiptIds.length,
      batch.closedAt,
      batch.transaction ?? null,
      batch.block ?? null,
      JSON.stringify(batch.credits.map(({ provider, units }) => ({ provider, units: units.toString() }))),
      JSON.stringify(batch.receiptIds),
      Number(batch.imported ?? false),
    );
    const stamped = this.#receipts.stamp(batch.id, batch.receiptIds);
    const whole = stamped === batch.receiptIds.length;
    this.#database.exec(whole ? "RELEASE batch" : "ROLLBACK TO batch; RELEASE batch");
    return whole;
  }

  /** Returns false, without a change, for a batch that is not in state `from`. */
  update(id: number, change: Pick<Batch, "state" | "transaction" | "block">, from?: BatchState): boolean {
    const { state, transaction = null, block = null } = change;
    const { changes } = this.#update.run(state, transaction, block, id, from ?? null);
    if (changes === 0 && !this.#byId.get(id)) throw new ComputeError("NOT_FOUND", `there is no batch ${id}`);
    return changes === 1;
  }

  /** Runs within a transaction. Returns false, without a change, unless the batch is the last and `closed`. */
  withdraw(id: number): boolean {
    if (!this.#isLastClosed.get(id)) return false;
    this.#receipts.unstamp(id);
    this.#delete.run(id);
    return true;
  }

  get(id: number): Batch | null {
    const row = this.#byId.get(id) as Row | undefined;
    return row ? fromRow(row) : null;
  }

  list(query: PageQuery & { readonly unrecorded?: true }): Page<Batch> {
    const conditions: Condition[] = [];
    if (query.cursor !== undefined) conditions.push(["_id < ?", readCursor(query.cursor, isBatchId)]);
    // A literal condition, so that SQLite uses the partial index.
    if (query.unrecorded) conditions.push(["state <> 'recorded' AND ?", 1]);
    return toPage(this.#list.all(conditions, query.limit + 1), query.limit, fromRow, (row) => row._id);
  }
}

function isBatchId(value: unknown): value is number {
  return Number.isSafeInteger(value);
}

function fromRow(row: Row): Batch {
  const credits: { provider: Hex; units: string }[] = JSON.parse(row.credits);
  return {
    id: row._id,
    root: row.root,
    credits: credits.map(({ provider, units }) => ({ provider, units: BigInt(units) })),
    receiptIds: row.receipt_ids === undefined ? [] : JSON.parse(row.receipt_ids),
    units: BigInt(row.units),
    closedAt: row.closed_at,
    state: row.state,
    ...(row.imported === 1 && { imported: true as const }),
    ...(row.transaction_hash !== null && { transaction: row.transaction_hash }),
    ...(row.block !== null && { block: row.block }),
  };
}
