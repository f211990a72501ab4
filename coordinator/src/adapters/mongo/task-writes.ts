import { randomBytes } from "node:crypto";
import type { Hex } from "@proof-of-compute/proto";
import type mongoose from "mongoose";
import { ComputeError } from "../../domain/errors.ts";
import type { Receipt } from "../../domain/receipt.ts";
import type { Task } from "../../domain/task.ts";
import type { MongoConnection } from "./connection.ts";
import { resultOfBulk } from "./errors.ts";
import { chunksOf, Lane, roundsOf } from "./lane.ts";
import type { ReceiptCopies } from "./receipt-copies.ts";
import { contentOf } from "./receipt-documents.ts";
import { changeOf, hasWritten, newTask, type TaskDocument, toTask } from "./task-documents.ts";

/** What a save stores beside the task. */
export interface Made {
  readonly receipt?: Receipt;
  readonly output?: Uint8Array;
}

/** A write of a task; an insert has no `made`. */
interface TaskWrite {
  readonly task: Task;
  readonly made?: Made;
}

/** The outcome of a write. */
interface TaskOutcome {
  readonly won: boolean;
  /** The task that had the id of an insert. */
  readonly stored?: Task;
  /** Resolves once the receipt of a save is copied. */
  readonly copied?: Promise<void>;
}

/** A write in a trip, with the token by which it is recognized. */
interface Attempt {
  readonly write: TaskWrite;
  readonly index: number;
  readonly token: string;
}

/** Ids in one delete command. */
const DELETED_AT_ONCE = 1_000;

/** Writes tasks: one round trip for the inserts and saves of a turn. */
export class TaskWrites {
  readonly #connection: Pick<MongoConnection, "trip">;
  readonly #copies: ReceiptCopies;
  readonly #lane = new Lane<TaskWrite, TaskOutcome>((writes) => this.#write(writes));

  constructor(connection: Pick<MongoConnection, "trip">, copies: ReceiptCopies) {
    this.#connection = connection;
    this.#copies = copies;
  }

  async insert(task: Task): Promise<{ readonly task: Task; readonly created: boolean }> {
    const { won, stored } = await this.#lane.push({ task });
    return won ? { task, created: true } : { task: stored!, created: false };
  }

  async save(task: Task, made: Made = {}): Promise<boolean> {
    const { won, copied } = await this.#lane.push({ task, made });
    await copied;
    return won;
  }

  /** Removes ended tasks, except those with a receipt that may not be copied yet. */
  prune(before: number, limit: number): Promise<number> {
    return this.alone(async () => {
      await this.#copies.sweep();
      if (limit === 0) return 0;
      // The delete has the same conditions, because it may arrive late, when a new task has the id.
      const prunable = { ended_at: { $lt: before }, uncopied: { $exists: false } } as const;
      const ended = await this.#connection.trip(({ tasks }) =>
        tasks
          .find(prunable, { projection: { _id: 1 } })
          .sort({ ended_at: 1, _id: 1 })
          .limit(limit)
          .toArray(),
      );
      let removed = 0;
      for (const chunk of chunksOf(ended, DELETED_AT_ONCE)) {
        const filter = { _id: { $in: chunk.map(({ _id }) => _id) }, ...prunable };
        const { deletedCount } = await this.#connection.trip(({ tasks }) => tasks.deleteMany(filter));
        removed += deletedCount;
      }
      return removed;
    });
  }

  /** Runs after all earlier writes with their receipts, and before all later writes. */
  alone<T>(run: () => Promise<T>): Promise<T> {
    return this.#lane.alone(async () => {
      await this.#copies.idle();
      return run();
    });
  }

  /** Settles once all earlier writes have settled, with their receipts. */
  async idle(): Promise<void> {
    await this.#lane.idle();
    await this.#copies.idle();
  }

  async #write(writes: readonly TaskWrite[]): Promise<TaskOutcome[]> {
    const flight = randomBytes(9).toString("base64url");
    const attempts = writes.map((write, index) => ({ write, index, token: `${flight}.${index}` }));
    const outcomes: TaskOutcome[] = attempts.map(() => ({ won: false }));
    for (const round of roundsOf(withoutRivals(attempts), ({ write }) => write.task.id)) {
      for (const [{ index }, outcome] of await this.#writeRound(round)) outcomes[index] = outcome;
    }
    return outcomes;
  }

  /** Makes one trip, and another one if some writes lost. No task is in it twice. */
  async #writeRound(round: readonly Attempt[]): Promise<Map<Attempt, TaskOutcome>> {
    const operations = round.map(toOperation);
    const { upsertedIds, matchedCount } = await this.#connection.trip(({ tasks }) =>
      // If two inserts of one id collide, one has stored it.
      tasks.bulkWrite(operations, { ordered: false }).catch(resultOfBulk),
    );
    const saves = round.filter(({ write }) => write.made);
    const refused = round.filter(({ write }, position) => !write.made && !(position in upsertedIds));
    // An insert with a taken id matches too. If fewer writes match, some save was too late.
    const allSaved = matchedCount === saves.length + refused.length;
    const doubtful = allSaved ? refused : [...refused, ...saves];
    const stored = doubtful.length > 0 ? await this.#readBack(doubtful) : new Map<Hex, TaskDocument>();
    return new Map(round.map((attempt) => [attempt, this.#outcomeOf(attempt, doubtful, stored)]));
  }

  #outcomeOf(
    { write: { task, made }, token }: Attempt,
    doubtful: readonly Attempt[],
    stored: ReadonlyMap<Hex, TaskDocument>,
  ): TaskOutcome {
    if (doubtful.some((other) => other.token === token)) {
      const document = stored.get(task.id);
      if (!document && !made) throw new ComputeError("UNAVAILABLE", "the task was pruned meanwhile; try again");
      const won = document !== undefined && hasWritten(document, task.version, token);
      if (!won) return { won, ...(document && !made && { stored: toTask(document) }) };
    }
    if (!made?.receipt) return { won: true };
    const { receipt } = made;
    const copied = this.#copies.push({ taskId: task.id, receiptId: receipt.receiptId, content: contentOf(receipt) });
    // The saver hears of a failure later; the task's flag ensures the copy.
    copied.catch(() => undefined);
    return { won: true, copied };
  }

  async #readBack(attempts: readonly Attempt[]): Promise<Map<Hex, TaskDocument>> {
    const ids = attempts.map(({ write }) => write.task.id);
    const documents = await this.#connection.trip(({ tasks }) =>
      tasks.find({ _id: { $in: ids } }, { projection: { output: 0 } }).toArray(),
    );
    return new Map(documents.map((document) => [document._id, document]));
  }
}

/** Of several saves of one version only the first can win, so the others are refused without an attempt. */
function withoutRivals(attempts: readonly Attempt[]): Attempt[] {
  const saved = new Set<string>();
  return attempts.filter(({ write: { task, made } }) => {
    const key = `${task.id}/${task.version}`;
    if (!made) return true;
    if (saved.has(key)) return false;
    saved.add(key);
    return true;
  });
}

function toOperation({ write: { task, made }, token }: Attempt): mongoose.mongo.AnyBulkWriteOperation<TaskDocument> {
  if (!made) {
    const { _id, ...document } = newTask(task, token);
    return { updateOne: { filter: { _id }, update: { $setOnInsert: document }, upsert: true } };
  }
  const { receipt, output } = made;
  const update = changeOf(task, token, { uncopied: receipt !== undefined, ...(output && { output }) });
  return { updateOne: { filter: { _id: task.id, version: task.version - 1 }, update } };
}
