import type { DatabaseSync, StatementSync } from "node:sqlite";
import type { Address, Hex } from "@proof-of-compute/proto";
import type { TaskState } from "../../domain/task.ts";
import type { Page, PageQuery } from "../../ports/store.ts";
import { fromBlob, isId, readCursor, toBlob, toPage } from "./codec.ts";
import { type Condition, ListQuery } from "./statements.ts";
import { bytesOf, type StoredTask, type WrittenTask } from "./task-rows.ts";

/**
 * The tasks and their outputs. What queries need are columns, the rest is one JSON document, receipts included: it is
 * the truth about the task, and the table of receipts a copy for queries.
 */
export class Tasks {
  readonly #insert: StatementSync;
  readonly #update: StatementSync;
  readonly #byId: StatementSync;
  readonly #queued: StatementSync;
  readonly #live: StatementSync;
  readonly #overdue: StatementSync;
  readonly #setOutput: StatementSync;
  readonly #output: StatementSync;
  readonly #dropOutputs: StatementSync;
  readonly #list: ListQuery<StoredTask>;

  constructor(database: DatabaseSync) {
    this.#insert = database.prepare(
      `INSERT INTO tasks (_id, version, requester, state, created_at, not_before, deadline, document, spec)
       VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (_id) DO NOTHING`,
    );
    this.#update = database.prepare(
      "UPDATE tasks SET version = ?, state = ?, not_before = ?, document = ? WHERE _id = ? AND version = ?",
    );
    this.#byId = database.prepare("SELECT * FROM tasks WHERE _id = ?");
    this.#queued = database.prepare(
      `SELECT * FROM tasks WHERE state = 'queued' AND not_before <= ?
       AND _id NOT IN (SELECT unhex(substr(value, 3)) FROM json_each(?)) ORDER BY not_before, _id LIMIT ?`,
    );
    this.#live = database.prepare("SELECT * FROM tasks WHERE state IN ('running', 'cancelling') ORDER BY _id");
    this.#overdue = database.prepare(
      `SELECT * FROM tasks WHERE state IN ('queued', 'running', 'cancelling') AND deadline < ?
       ORDER BY deadline, _id LIMIT ?`,
    );
    this.#setOutput = database.prepare(
      "INSERT INTO outputs (_id, output) VALUES (?, ?) ON CONFLICT (_id) DO UPDATE SET output = excluded.output",
    );
    this.#output = database.prepare("SELECT output FROM outputs WHERE _id = ?");
    this.#dropOutputs = database.prepare(
      "DELETE FROM outputs WHERE _id IN (SELECT unhex(substr(value, 3)) FROM json_each(?))",
    );
    this.#list = new ListQuery(database, "SELECT * FROM tasks", "created_at DESC, _id DESC");
  }

  /** Adds a task; returns the stored one, and adds nothing, when its id is taken. */
  insert(task: WrittenTask): StoredTask | null {
    const { changes } = this.#insert.run(
      toBlob(task.id),
      task.version,
      task.requester,
      task.state,
      task.createdAt,
      task.notBefore,
      task.deadline,
      task.document,
      bytesOf(task.spec),
    );
    return changes === 1 ? null : this.get(task.id);
  }

  /** Replaces the version before; false when that is not the stored one. What a task asks for never changes. */
  save({ id, version, state, notBefore, document }: Omit<WrittenTask, "spec">, output?: string): boolean {
    const key = toBlob(id);
    const { changes } = this.#update.run(version, state, notBefore, document, key, version - 1);
    if (changes === 0) return false;
    if (output !== undefined) this.#setOutput.run(key, bytesOf(output));
    return true;
  }

  get(id: Hex): StoredTask | null {
    return (this.#byId.get(toBlob(id)) as StoredTask | undefined) ?? null;
  }

  list(query: PageQuery & { readonly requester?: Address; readonly states?: readonly TaskState[] }): Page<StoredTask> {
    const conditions: Condition[] = [];
    if (query.requester !== undefined) conditions.push(["requester = ?", query.requester]);
    if (query.states !== undefined) {
      conditions.push(["state IN (SELECT value FROM json_each(?))", JSON.stringify(query.states)]);
    }
    if (query.cursor !== undefined) {
      const [createdAt, id] = readCursor(query.cursor, isPosition);
      conditions.push(["(created_at, _id) < (?, ?)", createdAt, toBlob(id)]);
    }
    return toPage(
      this.#list.all(conditions, query.limit + 1),
      query.limit,
      (row) => row,
      (row) => [row.created_at, fromBlob(row._id)],
    );
  }

  queued(query: { readonly now: number; readonly limit: number; readonly excluded?: readonly Hex[] }): StoredTask[] {
    return this.#queued.all(query.now, JSON.stringify(query.excluded ?? []), query.limit) as unknown as StoredTask[];
  }

  live(): StoredTask[] {
    return this.#live.all() as unknown as StoredTask[];
  }

  overdue(now: number, limit: number): StoredTask[] {
    return this.#overdue.all(now, limit) as unknown as StoredTask[];
  }

  output(id: Hex): Uint8Array | null {
    const row = this.#output.get(toBlob(id)) as { output: Uint8Array } | undefined;
    return row?.output ?? null;
  }

  dropOutputs(ids: readonly Hex[]): void {
    this.#dropOutputs.run(JSON.stringify(ids));
  }
}

/** A task's place in the list: createdAt and id. */
function isPosition(value: unknown): value is [createdAt: number, id: Hex] {
  return Array.isArray(value) && value.length === 2 && Number.isSafeInteger(value[0]) && isId(value[1]);
}
