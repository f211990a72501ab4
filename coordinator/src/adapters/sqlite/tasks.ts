import type { DatabaseSync, StatementSync } from "node:sqlite";
import type { Address, Hex } from "@proof-of-compute/proto";
import type { Owner } from "../../domain/owner.ts";
import type { TaskState } from "../../domain/task.ts";
import type { Page, PageQuery } from "../../ports/pages.ts";
import { ownerKey } from "../owner-key.ts";
import { isId, readCursor, toPage } from "../pages.ts";
import { fromBlob, toBlob } from "./codec.ts";
import { type Condition, ListQuery } from "./statements.ts";
import { bytesOf, type StoredTask, type WrittenTask } from "./task-rows.ts";

/**
 * Tasks and their outputs. Fields that queries need are columns; the rest is one JSON document with the receipts. The
 * document is authoritative, and the table of receipts is a copy for queries.
 */
export class Tasks {
  readonly #insert: StatementSync;
  readonly #update: StatementSync;
  readonly #byId: StatementSync;
  readonly #version: StatementSync;
  readonly #queued: StatementSync;
  readonly #queueDepths: StatementSync;
  readonly #liveOf: StatementSync;
  readonly #orphaned: StatementSync;
  readonly #liveAssignments: StatementSync;
  readonly #cancelling: StatementSync;
  readonly #overdue: StatementSync;
  readonly #setOutput: StatementSync;
  readonly #output: StatementSync;
  readonly #dropOutputs: StatementSync;
  readonly #prune: StatementSync;
  readonly #list: ListQuery<StoredTask>;

  constructor(database: DatabaseSync) {
    this.#insert = database.prepare(
      `INSERT INTO tasks (_id, version, requester, state, created_at, not_before, deadline,
         owner, node_id, assignment_id, ended_at, document, spec)
       VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (_id) DO NOTHING`,
    );
    this.#update = database.prepare(
      `UPDATE tasks SET version = ?, state = ?, not_before = ?, owner = ?, node_id = ?, assignment_id = ?,
       ended_at = ?, document = ? WHERE _id = ? AND version = ?`,
    );
    this.#byId = database.prepare("SELECT * FROM tasks WHERE _id = ?");
    this.#version = database.prepare("SELECT version FROM tasks WHERE _id = ?");
    this.#queued = database.prepare(
      `SELECT * FROM tasks WHERE state = 'queued' AND requester = ? AND not_before <= ?
       AND _id NOT IN (SELECT unhex(substr(value, 3)) FROM json_each(?)) ORDER BY not_before, _id LIMIT ?`,
    );
    this.#queueDepths = database.prepare(
      "SELECT requester, count(*) AS queued FROM tasks WHERE state = 'queued' GROUP BY requester",
    );
    // A task has a node exactly while it is running or cancelling. With a condition on `state`, SQLite would scan all
    // tasks.
    this.#liveOf = database.prepare("SELECT * FROM tasks WHERE node_id = ? ORDER BY _id");
    this.#orphaned = database.prepare(
      `SELECT * FROM tasks WHERE rowid IN (
         SELECT rowid FROM tasks INDEXED BY tasks_live WHERE node_id IS NOT NULL
         AND (owner IS NULL OR owner NOT IN (SELECT value FROM json_each(?))) AND _id > ? ORDER BY _id LIMIT ?
       ) ORDER BY _id`,
    );
    this.#liveAssignments = database.prepare(
      `SELECT _id, assignment_id FROM tasks INDEXED BY tasks_live
       WHERE node_id IS NOT NULL AND owner = ? ORDER BY _id`,
    );
    this.#cancelling = database.prepare("SELECT * FROM tasks WHERE state = 'cancelling' AND owner = ? ORDER BY _id");
    this.#overdue = database.prepare(
      `SELECT * FROM tasks WHERE state IN ('queued', 'running', 'cancelling') AND deadline < ?
       AND (owner IS NULL OR owner = ?) ORDER BY deadline, _id LIMIT ?`,
    );
    this.#setOutput = database.prepare(
      "INSERT INTO outputs (_id, output) VALUES (?, ?) ON CONFLICT (_id) DO UPDATE SET output = excluded.output",
    );
    this.#output = database.prepare("SELECT output FROM outputs WHERE _id = ?");
    this.#dropOutputs = database.prepare(
      `DELETE FROM outputs WHERE _id IN (
         SELECT tasks._id FROM json_each(?) JOIN tasks ON tasks._id = unhex(substr(value ->> 'taskId', 3))
         WHERE json_type(document, '$.assignments."' || (value ->> 'receiptId') || '"') IS NOT NULL
       )`,
    );
    this.#prune = database.prepare(
      "DELETE FROM tasks WHERE rowid IN (SELECT rowid FROM tasks WHERE ended_at < ? ORDER BY ended_at LIMIT ?)",
    );
    this.#list = new ListQuery(database, "SELECT * FROM tasks", "created_at DESC, _id DESC");
  }

  /** Inserts a task; if its id is taken, returns the stored task. */
  insert(task: WrittenTask): StoredTask | null {
    const { changes } = this.#insert.run(
      toBlob(task.id),
      task.version,
      task.requester,
      task.state,
      task.createdAt,
      task.notBefore,
      task.deadline,
      task.owner,
      ...blobsOf(task.live),
      task.endedAt,
      task.document,
      bytesOf(task.spec),
    );
    return changes === 1 ? null : this.get(task.id);
  }

  /** Replaces the previous version; false if another version is stored. The request of a task never changes. */
  save(task: Omit<WrittenTask, "spec">, output?: string): boolean {
    const key = toBlob(task.id);
    const { changes } = this.#update.run(
      task.version,
      task.state,
      task.notBefore,
      task.owner,
      ...blobsOf(task.live),
      task.endedAt,
      task.document,
      key,
      task.version - 1,
    );
    if (changes === 0) return false;
    if (output !== undefined) this.#setOutput.run(key, bytesOf(output));
    return true;
  }

  get(id: Hex): StoredTask | null {
    return (this.#byId.get(toBlob(id)) as StoredTask | undefined) ?? null;
  }

  versions(ids: readonly Hex[]): { id: Hex; version: number }[] {
    return ids.flatMap((id) => {
      const row = this.#version.get(toBlob(id)) as { version: number } | undefined;
      return row ? [{ id, version: row.version }] : [];
    });
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

  queued(query: {
    readonly requesters: readonly Address[];
    readonly now: number;
    readonly limit: number;
    readonly excluded?: readonly Hex[];
  }): StoredTask[] {
    const excluded = JSON.stringify(query.excluded ?? []);
    return query.requesters.flatMap(
      (requester) => this.#queued.all(requester, query.now, excluded, query.limit) as unknown as StoredTask[],
    );
  }

  queueDepths(): { requester: Address; queued: number }[] {
    return this.#queueDepths.all() as { requester: Address; queued: number }[];
  }

  liveOf(nodeId: Hex): StoredTask[] {
    return this.#liveOf.all(toBlob(nodeId)) as unknown as StoredTask[];
  }

  orphaned(owners: readonly Owner[], limit: number, after: Hex = "0x"): StoredTask[] {
    const present = JSON.stringify(owners.map(ownerKey));
    return this.#orphaned.all(present, toBlob(after), limit) as unknown as StoredTask[];
  }

  liveAssignments(owner: Owner): { taskId: Hex; assignmentId: Hex }[] {
    const rows = this.#liveAssignments.all(ownerKey(owner)) as { _id: Uint8Array; assignment_id: Uint8Array }[];
    return rows.map((row) => ({ taskId: fromBlob(row._id), assignmentId: fromBlob(row.assignment_id) }));
  }

  cancelling(owner: Owner): StoredTask[] {
    return this.#cancelling.all(ownerKey(owner)) as unknown as StoredTask[];
  }

  overdue(query: { readonly now: number; readonly owner: Owner; readonly limit: number }): StoredTask[] {
    return this.#overdue.all(query.now, ownerKey(query.owner), query.limit) as unknown as StoredTask[];
  }

  /** Removes tasks with their outputs. */
  prune(before: number, limit: number): number {
    return Number(this.#prune.run(before, limit).changes);
  }

  output(id: Hex): Uint8Array | null {
    const row = this.#output.get(toBlob(id)) as { output: Uint8Array } | undefined;
    return row?.output ?? null;
  }

  /** A task without this assignment is a later one of the same id, and keeps its output. */
  dropOutputs(receipts: readonly { readonly receiptId: Hex; readonly taskId: Hex }[]): void {
    this.#dropOutputs.run(JSON.stringify(receipts));
  }
}

function blobsOf(live: WrittenTask["live"]): [nodeId: Uint8Array | null, assignmentId: Uint8Array | null] {
  return live ? [toBlob(live.nodeId), toBlob(live.assignmentId)] : [null, null];
}

/** A task's position in the list: createdAt and id. */
function isPosition(value: unknown): value is [createdAt: number, id: Hex] {
  return Array.isArray(value) && value.length === 2 && Number.isSafeInteger(value[0]) && isId(value[1]);
}
