import type { Hex } from "@proof-of-compute/proto";
import type { MongoConnection } from "./connection.ts";
import { resultOfBulk } from "./errors.ts";
import { Lane } from "./lane.ts";
import { newReceipt, type ReceiptContent } from "./receipt-documents.ts";
import { receiptsIn } from "./task-documents.ts";

/** A receipt on its way from its task into the collection of receipts. */
export interface Copy {
  readonly taskId: Hex;
  readonly receiptId: Hex;
  readonly content: ReceiptContent;
}

/** Flagged tasks that one sweep reads at once. */
const SWEPT_AT_ONCE = 500;

/**
 * Copies receipts out of the tasks that made them. A task is flagged in the write that makes its receipt, and the flag
 * goes only when the copy is durable; so whoever finds the flag, after whatever crash, can copy again. A copy never
 * touches one that is there.
 */
export class ReceiptCopies {
  readonly #connection: Pick<MongoConnection, "trip">;
  readonly #lane = new Lane<Copy, undefined>((copies) => this.#write(copies));
  /** Tasks whose receipts are copied and whose flags are still set. */
  readonly #copied = new Set<Hex>();

  constructor(connection: Pick<MongoConnection, "trip">) {
    this.#connection = connection;
  }

  /** Resolves when the receipt is durable among the receipts. */
  push(copy: Copy): Promise<void> {
    return this.#lane.push(copy);
  }

  /** Settles when every copy before has. */
  idle(): Promise<void> {
    return this.#lane.idle();
  }

  /** Takes the flags off tasks whose receipts this process has copied. */
  async unflag(): Promise<void> {
    if (this.#copied.size === 0) return;
    const ids = [...this.#copied];
    this.#copied.clear();
    await this.#connection.trip(({ tasks }) => tasks.updateMany({ _id: { $in: ids } }, { $unset: { uncopied: "" } }));
  }

  /** Copies what any crashed coordinator left. */
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
    // Two upserts of one receipt may collide: then it is there.
    await this.#connection.trip(({ receipts }) => receipts.bulkWrite(upserts, { ordered: false }).catch(resultOfBulk));
    for (const { taskId } of copies) this.#copied.add(taskId);
    return copies.map(() => undefined);
  }
}
