import type { DatabaseSync, StatementSync } from "node:sqlite";
import type { Address, Hex } from "@proof-of-compute/proto";
import type { Receipt } from "../../domain/receipt.ts";
import type { Page, PageQuery } from "../../ports/pages.ts";
import { isId, readCursor, toPage } from "../pages.ts";
import { fromBlob, toBlob } from "./codec.ts";
import { type Condition, ListQuery } from "./statements.ts";

/** A receipt to be inserted. */
export interface WrittenReceipt extends Pick<Receipt, "receiptId" | "provider" | "acceptedAt" | "units"> {
  /** The rest of the receipt, as JSON. */
  readonly document: string;
  /** Of a result that is a blob, not an output beside its task. */
  readonly blobDigest: Hex | null;
}

/** A row of the table. */
export interface StoredReceipt {
  readonly _id: Uint8Array;
  /** As text: a JavaScript number would round it above 2^53. */
  readonly units: string;
  readonly batch_id: number | null;
  readonly quarantined: number;
  readonly document: string;
}

export function writeReceipt(
  { units, batchId: _, quarantined: __, ...rest }: Receipt,
  output: Uint8Array | undefined,
): WrittenReceipt {
  const { receiptId, provider, acceptedAt, resultDigest } = rest;
  const blobDigest = output ? null : resultDigest;
  return { receiptId, provider, acceptedAt, units, document: JSON.stringify(rest), blobDigest };
}

export function readReceipt({ units, batch_id: batchId, quarantined, document }: StoredReceipt): Receipt {
  return {
    ...JSON.parse(document),
    units: BigInt(units),
    ...(batchId !== null && { batchId }),
    ...(quarantined === 1 && { quarantined: true }),
  };
}

const SELECT = `SELECT _id, CAST(units AS TEXT) AS units, batch_id, quarantined, document
  FROM receipts JOIN receipt_documents USING (number)`;
const IS_FREE = "batch_id IS NULL AND quarantined = 0";

/** The table of receipts. */
export class Receipts {
  readonly #insert: StatementSync;
  readonly #insertDocument: StatementSync;
  readonly #byId: StatementSync;
  readonly #unbatched: StatementSync;
  readonly #unbatchedOfKinds: StatementSync;
  readonly #stamp: StatementSync;
  readonly #unstamp: StatementSync;
  readonly #quarantine: StatementSync;
  readonly #release: StatementSync;
  readonly #withResult: StatementSync;
  readonly #forgetResults: StatementSync;
  readonly #referred: StatementSync;
  readonly #list: ListQuery<StoredReceipt>;

  constructor(database: DatabaseSync) {
    this.#insert = database.prepare(
      `INSERT INTO receipts (_id, provider, accepted_at, units, blob_digest) VALUES (?, ?, ?, ?, ?)
       ON CONFLICT (_id) DO NOTHING`,
    );
    this.#insertDocument = database.prepare("INSERT INTO receipt_documents VALUES (?, ?)");
    this.#byId = database.prepare(`${SELECT} WHERE _id = ?`);
    this.#unbatched = database.prepare(`${SELECT} WHERE ${IS_FREE} ORDER BY accepted_at, _id LIMIT ?`);
    this.#unbatchedOfKinds = database.prepare(
      `${SELECT} WHERE ${IS_FREE} AND document ->> '$.kind' IN (SELECT value FROM json_each(?))
       ORDER BY accepted_at, _id LIMIT ?`,
    );
    this.#stamp = database.prepare(
      `UPDATE receipts SET batch_id = ?
       WHERE _id IN (SELECT unhex(substr(value, 3)) FROM json_each(?)) AND ${IS_FREE}`,
    );
    this.#unstamp = database.prepare("UPDATE receipts SET batch_id = NULL WHERE batch_id = ?");
    this.#quarantine = database.prepare(`UPDATE receipts SET quarantined = 1 WHERE ${IS_FREE} AND accepted_at < ?`);
    this.#release = database.prepare(
      "UPDATE receipts SET quarantined = 0 WHERE _id IN (SELECT unhex(substr(value, 3)) FROM json_each(?))",
    );
    this.#withResult = database.prepare(
      `${SELECT} WHERE has_result = 1 AND accepted_at < ? ORDER BY accepted_at, _id LIMIT ?`,
    );
    this.#forgetResults = database.prepare(
      "UPDATE receipts SET has_result = 0 WHERE _id IN (SELECT unhex(substr(value, 3)) FROM json_each(?))",
    );
    this.#referred = database.prepare(
      `SELECT value FROM json_each(?) WHERE EXISTS (
         SELECT 1 FROM receipts WHERE blob_digest = unhex(substr(value, 3)) AND has_result = 1
       )`,
    );
    this.#list = new ListQuery(database, SELECT, "_id");
  }

  /** Inserts a receipt; does nothing if it is stored already. */
  insert({ receiptId, provider, acceptedAt, units, document, blobDigest }: WrittenReceipt): void {
    const added = this.#insert.run(toBlob(receiptId), provider, acceptedAt, units, blobDigest && toBlob(blobDigest));
    if (added.changes === 1) this.#insertDocument.run(added.lastInsertRowid, document);
  }

  get(id: Hex): StoredReceipt | null {
    return (this.#byId.get(toBlob(id)) as StoredReceipt | undefined) ?? null;
  }

  list(
    query: PageQuery & { readonly provider?: Address; readonly batchId?: number; readonly quarantined?: true },
  ): Page<StoredReceipt> {
    const conditions: Condition[] = [];
    if (query.quarantined) conditions.push(["quarantined = 1"]);
    if (query.provider !== undefined) conditions.push(["provider = ?", query.provider]);
    if (query.batchId !== undefined) conditions.push(["batch_id = ?", query.batchId]);
    if (query.cursor !== undefined) conditions.push(["_id > ?", toBlob(readCursor(query.cursor, isId))]);
    return toPage(
      this.#list.all(conditions, query.limit + 1),
      query.limit,
      (row) => row,
      (row) => fromBlob(row._id),
    );
  }

  unbatched(limit: number, kinds?: readonly string[]): StoredReceipt[] {
    const rows = kinds ? this.#unbatchedOfKinds.all(JSON.stringify(kinds), limit) : this.#unbatched.all(limit);
    return rows as unknown as StoredReceipt[];
  }

  withResult(before: number, limit: number): StoredReceipt[] {
    return this.#withResult.all(before, limit) as unknown as StoredReceipt[];
  }

  forgetResults(ids: readonly Hex[]): void {
    this.#forgetResults.run(JSON.stringify(ids));
  }

  referredDigests(digests: readonly Hex[]): Hex[] {
    const rows = this.#referred.all(JSON.stringify(digests)) as { value: Hex }[];
    return rows.map(({ value }) => value);
  }

  /** Returns the number of receipts that went into quarantine. */
  quarantine(before: number): number {
    return Number(this.#quarantine.run(before).changes);
  }

  release(ids: readonly Hex[]): void {
    this.#release.run(JSON.stringify(ids));
  }

  /** Stamps the free ones of these receipts with a batch; returns their number. */
  stamp(batchId: number, ids: readonly Hex[]): number {
    return Number(this.#stamp.run(batchId, JSON.stringify(ids)).changes);
  }

  /** Frees the receipts of a batch. */
  unstamp(batchId: number): void {
    this.#unstamp.run(batchId);
  }
}
