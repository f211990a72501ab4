import type { DatabaseSync, StatementSync } from "node:sqlite";
import type { Address, Hex } from "@proof-of-compute/proto";
import type { Receipt } from "../../domain/receipt.ts";
import type { Page, PageQuery } from "../../ports/store.ts";
import { IdPosition, readCursor, toBlob, toPage } from "./codec.ts";
import { type Condition, ListQuery } from "./statements.ts";

interface Row {
  /** As text: a JavaScript number would round it above 2^53. */
  readonly units: string;
  readonly batch_id: number | null;
  readonly document: string;
}

const SELECT =
  "SELECT CAST(units AS TEXT) AS units, batch_id, document FROM receipts JOIN receipt_documents USING (number)";
/** The receipts: what is credited, each once. */
export class Receipts {
  readonly #insert: StatementSync;
  readonly #insertDocument: StatementSync;
  readonly #byId: StatementSync;
  readonly #unbatched: StatementSync;
  readonly #stamp: StatementSync;
  readonly #list: ListQuery<Row>;

  constructor(database: DatabaseSync) {
    this.#insert = database.prepare(
      `INSERT INTO receipts (_id, provider, accepted_at, units) VALUES (?, ?, ?, ?)
       ON CONFLICT (_id) DO NOTHING`,
    );
    this.#insertDocument = database.prepare("INSERT INTO receipt_documents VALUES (?, ?)");
    this.#byId = database.prepare(`${SELECT} WHERE _id = ?`);
    this.#unbatched = database.prepare(`${SELECT} WHERE batch_id IS NULL ORDER BY accepted_at, _id LIMIT ?`);
    this.#stamp = database.prepare(
      `UPDATE receipts SET batch_id = ?
       WHERE _id IN (SELECT unhex(substr(value, 3)) FROM json_each(?)) AND batch_id IS NULL`,
    );
    this.#list = new ListQuery(database, SELECT, "_id");
  }

  /** Adds a receipt; the same one twice is one. */
  insert({ units, batchId: _, ...rest }: Receipt): void {
    const added = this.#insert.run(toBlob(rest.receiptId), rest.provider, rest.acceptedAt, units);
    if (added.changes === 1) this.#insertDocument.run(added.lastInsertRowid, JSON.stringify(rest));
  }

  get(id: Hex): Receipt | null {
    const row = this.#byId.get(toBlob(id)) as Row | undefined;
    return row ? fromRow(row) : null;
  }

  list(query: PageQuery & { readonly provider?: Address; readonly batchId?: number }): Page<Receipt> {
    const conditions: Condition[] = [];
    if (query.provider !== undefined) conditions.push(["provider = ?", query.provider]);
    if (query.batchId !== undefined) conditions.push(["batch_id = ?", query.batchId]);
    if (query.cursor !== undefined) conditions.push(["_id > ?", toBlob(readCursor(query.cursor, IdPosition))]);
    const receipts = this.#list.all(conditions, query.limit + 1).map(fromRow);
    return toPage(
      receipts,
      query.limit,
      (receipt) => receipt,
      (receipt) => receipt.receiptId,
    );
  }

  unbatched(limit: number): Receipt[] {
    return (this.#unbatched.all(limit) as unknown as Row[]).map(fromRow);
  }

  /** Says of unstamped receipts that a batch carries them; returns how many of `ids` those were. */
  stamp(batchId: number, ids: readonly Hex[]): number {
    return Number(this.#stamp.run(batchId, JSON.stringify(ids)).changes);
  }
}

function fromRow({ units, batch_id: batchId, document }: Row): Receipt {
  return { ...JSON.parse(document), units: BigInt(units), ...(batchId !== null && { batchId }) };
}
