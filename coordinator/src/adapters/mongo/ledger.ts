import { randomUUID } from "node:crypto";
import type { Hex } from "@proof-of-compute/proto";
import type mongoose from "mongoose";
import type { Batch, BatchState } from "../../domain/batch.ts";
import { ComputeError } from "../../domain/errors.ts";
import type { Page, PageQuery } from "../../ports/pages.ts";
import { readCursor, toPage } from "../pages.ts";
import { newBatch, toBatch } from "./batch-documents.ts";
import type { MongoConnection } from "./connection.ts";
import { isDuplicateKey } from "./errors.ts";
import type { Receipts } from "./receipts.ts";

type Session = mongoose.mongo.ClientSession;

/** Matches batches that are not being withdrawn. */
const VALID = { withdrawn: { $exists: false } } as const;
const UNREAD = { receipt_ids: 0 } as const;

/** Sums over the batches. */
export interface BatchSums {
  /** Receipts in batches, and their units. */
  readonly receipts: number;
  readonly units: bigint;
  /** Units of recorded batches, imported ones included. */
  readonly recorded: bigint;
}

/**
 * Batches, and the stamps on their receipts. Inserting a batch closes it: its content is immutable and its id unique, and
 * the stamps only repeat its content. Nothing is closed or counted before all receipts of the last batch are stamped
 * (docs/adr/mongodb-without-transactions.md).
 */
export class BatchLedger {
  readonly #connection: Pick<MongoConnection, "trip" | "inSession">;
  readonly #receipts: Receipts;

  constructor(connection: Pick<MongoConnection, "trip" | "inSession">, receipts: Receipts) {
    this.#connection = connection;
    this.#receipts = receipts;
  }

  /** Closes a batch. Returns false, without a change, unless the id is next and all receipts are free. */
  insert(batch: Batch): Promise<boolean> {
    return this.#connection.inSession(async (session) => {
      if (batch.id !== (await this.#finishLast(session)) + 1) return false;
      if (!(await this.#receipts.areFree(batch.receiptIds, session))) return false;
      if (!(await this.#claim(batch, session))) return false;
      await this.#stamp(batch.id, batch.receiptIds, session);
      return true;
    });
  }

  /** Finishes stamping the last batch, if a crash interrupted that. */
  async finish(): Promise<void> {
    await this.#connection.inSession((session) => this.#finishLast(session));
  }

  /** Returns false, without a change, for a batch that is not in state `from`. */
  async update(
    id: number,
    { state, transaction, block }: Pick<Batch, "state" | "transaction" | "block">,
    from?: Batch["state"],
  ): Promise<boolean> {
    const { matchedCount } = await this.#connection.trip(({ batches }) =>
      batches.updateOne(
        { _id: id, ...VALID, ...(from !== undefined && { state: from }) },
        {
          $set: {
            state,
            ...(transaction !== undefined && { transaction_hash: transaction }),
            ...(block !== undefined && state !== "closed" && { block }),
          },
          ...(state === "closed" && { $unset: { block: "" } }),
        },
      ),
    );
    if (matchedCount === 0 && !(await this.get(id))) throw new ComputeError("NOT_FOUND", `there is no batch ${id}`);
    return matchedCount === 1;
  }

  /** Removes the last batch if it is closed. Its id stays taken until its receipts are free. */
  withdraw(id: number): Promise<boolean> {
    return this.#connection.inSession(async (session) => {
      if ((await this.#finishLast(session)) !== id) return false;
      const { matchedCount } = await this.#connection.trip(({ batches }) =>
        batches.updateOne({ _id: id, state: "closed", ...VALID }, { $set: { withdrawn: true } }, { session }),
      );
      if (matchedCount === 0) return false;
      await this.#endWithdrawal(id);
      return true;
    });
  }

  async get(id: number): Promise<Batch | null> {
    const document = await this.#connection.trip(({ batches }) => batches.findOne({ _id: id, ...VALID }));
    return document && toBatch(document);
  }

  async list({ limit, cursor, unrecorded }: PageQuery & { readonly unrecorded?: true }): Promise<Page<Batch>> {
    const below = {
      ...(cursor !== undefined && { _id: { $lt: readCursor(cursor, isBatchId) } }),
      ...(unrecorded && { state: { $in: ["closed", "included"] as BatchState[] } }),
    };
    const found = await this.#connection.trip(({ batches }) =>
      batches.find({ ...below, ...VALID }, { projection: UNREAD, sort: { _id: -1 }, limit: limit + 1 }).toArray(),
    );
    return toPage(found, limit, toBatch, ({ _id }) => _id);
  }

  async sums(): Promise<BatchSums> {
    type Group = { _id: { state: Batch["state"]; imported: boolean }; receipts: number; units: bigint | number };
    const groups = await this.#connection.trip(({ batches }) =>
      batches
        .aggregate<Group>([
          { $match: { state: { $in: ["closed", "included", "recorded"] } } },
          {
            $group: {
              _id: { state: "$state", imported: "$imported" },
              receipts: { $sum: "$receipts" },
              units: { $sum: "$units" },
            },
          },
        ])
        .toArray(),
    );
    const unitsOf = (some: readonly Group[]) => some.reduce((sum, { units }) => sum + BigInt(units), 0n);
    return {
      receipts: groups.reduce((sum, { receipts }) => sum + receipts, 0),
      units: unitsOf(groups.filter(({ _id }) => !_id.imported)),
      recorded: unitsOf(groups.filter(({ _id }) => _id.state === "recorded")),
    };
  }

  /** Finishes all work on the last batch, and returns its id; 0 if there is none. */
  async #finishLast(session: Session): Promise<number> {
    for (;;) {
      const last = await this.#connection.trip(({ batches }) =>
        batches.findOne({}, { projection: { stamped: 1, withdrawn: 1 }, sort: { _id: -1 }, session }),
      );
      if (!last) return 0;
      if (!last.withdrawn) {
        if (!last.stamped) await this.#stampAgain(last._id, session);
        return last._id;
      }
      await this.#endWithdrawal(last._id);
    }
  }

  /** Inserts the batch; false when another batch has its id. */
  async #claim(batch: Batch, session: Session): Promise<boolean> {
    const document = newBatch(batch, randomUUID());
    return this.#connection.trip(async ({ batches }) => {
      try {
        await batches.insertOne(document, { session });
        return true;
      } catch (error) {
        if (!isDuplicateKey(error)) throw error;
        // It may be our own, if the answer to a first attempt was lost.
        const stored = await batches.findOne({ _id: batch.id }, { projection: { write_id: 1 }, session });
        return stored?.write_id === document.write_id;
      }
    });
  }

  async #stampAgain(id: number, session: Session): Promise<void> {
    const batch = await this.#connection.trip(({ batches }) =>
      batches.findOne({ _id: id }, { projection: { receipt_ids: 1 }, session }),
    );
    if (batch) await this.#stamp(id, batch.receipt_ids, session);
  }

  async #stamp(id: number, receiptIds: readonly Hex[], session: Session): Promise<void> {
    await this.#receipts.stamp(id, receiptIds, session);
    await this.#connection.trip(({ batches }) =>
      batches.updateOne({ _id: id }, { $set: { stamped: true } }, { session }),
    );
  }

  async #endWithdrawal(id: number): Promise<void> {
    await this.#receipts.unstamp(id);
    await this.#connection.trip(({ batches }) => batches.deleteOne({ _id: id, withdrawn: true }));
  }
}

function isBatchId(value: unknown): value is number {
  return Number.isSafeInteger(value);
}
