import type { Hex } from "@proof-of-compute/proto";
import type { MongoConnection } from "./connection.ts";
import { resultOfBulk } from "./errors.ts";
import { Lane } from "./lane.ts";
import { newReceipt, type ReceiptContent } from "./receipt-documents.ts";
import { receiptsIn } from "./task-documents.ts";

/** A receipt to be copied from its task to the collection of receipts. */
export interface Copy {
  readonly taskId: Hex;
  readonly receiptId: Hex;
  readonly content: ReceiptContent;
}

/** Flagged tasks that a sweep reads at a time. */
const SWEPT_AT_ONCE = 500;

/**
 * Copies receipts from their tasks. The write that makes a receipt also flags its task, and the flag is removed once the
 * copy is durable. After a crash, any coordinator that finds the flag copies again. A copy never changes an existing
 * receipt.
 */
export class ReceiptCopies {
  readonly #connection: Pick<MongoConnection, "trip">;
  readonly #lane = new Lane<Copy, undefined>((copies) => this.#write(copies));
  /** Tasks with copied receipts that still have their flag. */
  readonly #copied = new Set<Hex>();

  constructor(connection: Pick<MongoConnection, "trip">) {
    this.#connection = connection;
  }

  /** Resolves once the copy is durable. */
  push(copy: Copy): Promise<void> {
    return this.#lane.push(copy);
  }

  /** Settles once all earlier copies have settled. */
  idle(): Promise<void> {
    return this.#lane.idle();
  }

  /** Removes the flags of tasks that this process has copied. */
  async unflag(): Promise<void> {
    if (this.#copied.size === 0) return;
    const ids = [...this.#copied];
    this.#copied.clear();
    await this.#connection.trip(({ tasks }) => tasks.updateMany({ _id: { $in: ids } }, { $unset: { uncopied: "" } }));
  }

  /** Copies receipts that a crashed coordinator did not copy. */
  async sweep(): Promise<void> {
    await this.unflag();
    for (;;) {
      const flagged = await this.#connection.trip(({ tasks }) =>
        tasks.find({ uncopied: true }, { projection: { assignments: 1 }, limit: SWEPT_AT_ONCE }).toArray(),
      );
      const copies = flagged.flatMap((task) =>
        receiptsIn(task).map(([receiptId, content]) => this.push({ taskId: task._id, receiptId, content })),
      );
      await Promise.all(copies);
      for (const { _id } of flagged) this.#copied.add(_id);
      await this.unflag();
      if (flagged.length < SWEPT_AT_ONCE) return;
    }
  }

  async #write(copies: readonly Copy[]): Promise<undefined[]> {
    const upserts = copies.map(({ receiptId, content }) => {
      const { _id, ...document } = newReceipt(receiptId, content);
      return { updateOne: { filter: { _id }, update: { $setOnInsert: document }, upsert: true } };
    });
    // If two upserts of one receipt collide, one has stored it.
    await this.#connection.trip(({ receipts }) => receipts.bulkWrite(upserts, { ordered: false }).catch(resultOfBulk));
    for (const { taskId } of copies) this.#copied.add(taskId);
    return copies.map(() => undefined);
  }
}
