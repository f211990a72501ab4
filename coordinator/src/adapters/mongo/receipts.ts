import type { Address, Hex, TaskKindName } from "@proof-of-compute/proto";
import type mongoose from "mongoose";
import type { Receipt } from "../../domain/receipt.ts";
import type { Page, PageQuery } from "../../ports/pages.ts";
import type { Unbatched } from "../../ports/receipts.ts";
import { isId, readCursor, toPage } from "../pages.ts";
import type { MongoConnection } from "./connection.ts";
import { chunksOf } from "./lane.ts";
import { type ReceiptDocument, toReceipt } from "./receipt-documents.ts";

type Filter = mongoose.mongo.Filter<ReceiptDocument>;
type Session = mongoose.mongo.ClientSession;

/** Ids in one command, so that no command delays others for long. */
const IDS_AT_ONCE = 1_000;
const OLDEST_FIRST = { accepted_at: 1, _id: 1 } as const;

/** Count and units of some receipts. */
export interface Sum {
  readonly count: number;
  readonly units: bigint;
  readonly oldestAcceptedAt?: number;
}

/** The collection of receipts: copies from tasks, stamped with the batch that carries them. */
export class Receipts {
  readonly #connection: Pick<MongoConnection, "trip">;

  constructor(connection: Pick<MongoConnection, "trip">) {
    this.#connection = connection;
  }

  async get(id: Hex): Promise<Receipt | null> {
    const document = await this.#connection.trip(({ receipts }) => receipts.findOne({ _id: id }));
    return document && toReceipt(document);
  }

  async list({
    limit,
    cursor,
    provider,
    batchId,
    quarantined,
  }: PageQuery & {
    readonly provider?: Address;
    readonly batchId?: number;
    readonly quarantined?: true;
  }): Promise<Page<Receipt>> {
    const filter: Filter = {
      ...(provider !== undefined && { provider }),
      ...(batchId !== undefined && { batch_id: batchId }),
      ...(quarantined !== undefined && { quarantined }),
      ...(cursor !== undefined && { _id: { $gt: readCursor(cursor, isId) } }),
    };
    const found = await this.#find(filter, { _id: 1 }, limit + 1);
    return toPage(
      found,
      limit,
      (receipt) => receipt,
      ({ receiptId }) => receiptId,
    );
  }

  async free(limit: number, kinds?: readonly TaskKindName[]): Promise<Receipt[]> {
    const filter: Filter = { free: true, ...(kinds && { kind: { $in: [...kinds] } }) };
    return limit === 0 ? [] : this.#find(filter, OLDEST_FIRST, limit);
  }

  async withResult(before: number, limit: number): Promise<Receipt[]> {
    if (limit === 0) return [];
    return this.#find({ has_result: true, accepted_at: { $lt: before } }, OLDEST_FIRST, limit);
  }

  /** Counts free receipts up to `most`. */
  async unbatched(most: number): Promise<Unbatched> {
    const [found] = await this.#connection.trip(({ receipts }) =>
      receipts
        .aggregate<{ count: number; oldest: number }>([
          { $match: { free: true } },
          { $sort: { ...OLDEST_FIRST } },
          { $limit: most },
          { $group: { _id: null, count: { $sum: 1 }, oldest: { $min: "$accepted_at" } } },
        ])
        .toArray(),
    );
    return found ? { count: found.count, oldestAcceptedAt: found.oldest } : { count: 0 };
  }

  async sum(which: "free" | "quarantined"): Promise<Sum> {
    const [found] = await this.#connection.trip(({ receipts }) =>
      receipts
        .aggregate<{ count: number; units: bigint | number; oldest: number }>([
          { $match: { [which]: true } },
          { $group: { _id: null, count: { $sum: 1 }, units: { $sum: "$units" }, oldest: { $min: "$accepted_at" } } },
        ])
        .toArray(),
    );
    if (!found) return { count: 0, units: 0n };
    return { count: found.count, units: BigInt(found.units), oldestAcceptedAt: found.oldest };
  }

  /** Whether these ids are distinct, stored, and free. */
  async areFree(ids: readonly Hex[], session: Session): Promise<boolean> {
    if (new Set(ids).size !== ids.length) return false;
    for (const chunk of chunksOf(ids, IDS_AT_ONCE)) {
      const filter = { _id: { $in: chunk }, free: true } as const;
      const found = await this.#connection.trip(({ receipts }) =>
        receipts.find(filter, { projection: { _id: 1 }, session }).toArray(),
      );
      if (found.length !== chunk.length) return false;
    }
    return true;
  }

  /** Stamps receipts with a batch, unless they have one already. */
  async stamp(batchId: number, ids: readonly Hex[], session: Session): Promise<void> {
    for (const chunk of chunksOf(ids, IDS_AT_ONCE)) {
      await this.#connection.trip(({ receipts }) =>
        receipts.updateMany(
          { _id: { $in: chunk }, batch_id: { $exists: false } },
          { $set: { batch_id: batchId }, $unset: { free: "", quarantined: "" } },
          { session },
        ),
      );
    }
  }

  /** Reverts {@link stamp}. */
  async unstamp(batchId: number): Promise<void> {
    await this.#connection.trip(({ receipts }) =>
      receipts.updateMany({ batch_id: batchId }, { $set: { free: true }, $unset: { batch_id: "" } }),
    );
  }

  /** The outputs go first: a receipt that still says it has its result comes again. */
  async forgetResults(forgotten: readonly Pick<Receipt, "receiptId" | "taskId">[]): Promise<void> {
    for (const chunk of chunksOf(forgotten, IDS_AT_ONCE)) {
      // A task without this assignment is a later one of the same id, and keeps its output.
      const outputs = chunk.map(({ taskId, receiptId }) => ({
        updateOne: {
          filter: { _id: taskId, [`assignments.${receiptId}`]: { $exists: true } },
          update: { $unset: { output: "" as const } },
        },
      }));
      const receiptIds = chunk.map(({ receiptId }) => receiptId);
      await this.#connection.trip(({ tasks }) => tasks.bulkWrite(outputs, { ordered: false }));
      await this.#connection.trip(({ receipts }) =>
        receipts.updateMany({ _id: { $in: receiptIds } }, { $unset: { has_result: "" } }),
      );
    }
  }

  async referredDigests(digests: readonly Hex[]): Promise<Hex[]> {
    const referred = new Set<Hex>();
    for (const chunk of chunksOf(digests, IDS_AT_ONCE)) {
      const found = await this.#connection.trip(({ receipts }) =>
        receipts
          .aggregate<{ _id: Hex }>([
            { $match: { has_result: true, result_digest: { $in: chunk } } },
            { $group: { _id: "$result_digest" } },
          ])
          .toArray(),
      );
      for (const { _id } of found) referred.add(_id);
    }
    return [...referred];
  }

  async quarantine(before: number): Promise<number> {
    const { modifiedCount } = await this.#connection.trip(({ receipts }) =>
      receipts.updateMany(
        { free: true, accepted_at: { $lt: before } },
        { $set: { quarantined: true }, $unset: { free: "" } },
      ),
    );
    return modifiedCount;
  }

  async release(ids: readonly Hex[]): Promise<void> {
    for (const chunk of chunksOf(ids, IDS_AT_ONCE)) {
      await this.#connection.trip(({ receipts }) =>
        receipts.updateMany(
          { _id: { $in: chunk }, quarantined: true },
          { $set: { free: true }, $unset: { quarantined: "" } },
        ),
      );
    }
  }

  async #find(filter: Filter, sort: Record<string, 1>, limit: number): Promise<Receipt[]> {
    const found = await this.#connection.trip(({ receipts }) => receipts.find(filter, { sort, limit }).toArray());
    return found.map(toReceipt);
  }
}
