import type { DatabaseSync, StatementSync } from "node:sqlite";
import type { Address, Hex } from "@proof-of-compute/proto";
import { z } from "zod";
import type { Task, TaskState } from "../../domain/task.ts";
import type { Page, PageQuery } from "../../ports/store.ts";
import { fromBlob, IdPosition, readCursor, toBlob, toPage } from "./codec.ts";
import { type Condition, ListQuery } from "./statements.ts";

interface Row {
  readonly _id: Uint8Array;
  readonly version: number;
  readonly requester: Address;
  readonly state: TaskState;
  readonly created_at: number;
  readonly not_before: number;
  readonly deadline: number;
  readonly document: string;
  readonly spec: Uint8Array;
}

const Position = z.tuple([z.int(), IdPosition]);

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
  readonly #list: ListQuery<Row>;

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
    this.#list = new ListQuery(database, "SELECT * FROM tasks", "created_at DESC, _id DESC");
  }

  insert(task: Task): { task: Task; created: boolean } {
    const { changes } = this.#insert.run(
      toBlob(task.id),
      task.version,
      task.requester,
      task.state,
      task.createdAt,
      task.notBefore,
      task.deadline,
      toDocument(task),
      task.spec,
    );
    return changes === 1 ? { task, created: true } : { task: this.get(task.id)!, created: false };
  }

  /** Replaces the version before; false when that is not the stored one. What a task asks for never changes. */
  save(task: Task, output?: Uint8Array): boolean {
    const id = toBlob(task.id);
    const { version, state, notBefore } = task;
    const { changes } = this.#update.run(version, state, notBefore, toDocument(task), id, version - 1);
    if (changes === 0) return false;
    if (output) this.#setOutput.run(id, output);
    return true;
  }

  get(id: Hex): Task | null {
    const row = this.#byId.get(toBlob(id)) as Row | undefined;
    return row ? this.#fromRow(row) : null;
  }

  list(query: PageQuery & { readonly requester?: Address; readonly states?: readonly TaskState[] }): Page<Task> {
    const conditions: Condition[] = [];
    if (query.requester !== undefined) conditions.push(["requester = ?", query.requester]);
    if (query.states !== undefined) {
      conditions.push(["state IN (SELECT value FROM json_each(?))", JSON.stringify(query.states)]);
    }
    if (query.cursor !== undefined) {
      const [createdAt, id] = readCursor(query.cursor, Position);
      conditions.push(["(created_at, _id) < (?, ?)", createdAt, toBlob(id)]);
    }
    return toPage(
      this.#list.all(conditions, query.limit + 1),
      query.limit,
      (row) => this.#fromRow(row),
      (row) => [row.created_at, fromBlob(row._id)],
    );
  }

  queued(query: { readonly now: number; readonly limit: number; readonly excluded?: readonly Hex[] }): Task[] {
    return this.#fromRows(this.#queued.all(query.now, JSON.stringify(query.excluded ?? []), query.limit));
  }

  live(): Task[] {
    return this.#fromRows(this.#live.all());
  }

  overdue(now: number, limit: number): Task[] {
    return this.#fromRows(this.#overdue.all(now, limit));
  }

  output(id: Hex): Uint8Array | null {
    const row = this.#output.get(toBlob(id)) as { output: Uint8Array } | undefined;
    return row?.output ?? null;
  }

  #fromRows(rows: unknown[]): Task[] {
    return (rows as Row[]).map((row) => this.#fromRow(row));
  }

  #fromRow(row: Row): Task {
    const { assignments, ...rest } = JSON.parse(row.document);
    return {
      id: fromBlob(row._id),
      version: row.version,
      requester: row.requester,
      state: row.state,
      createdAt: row.created_at,
      notBefore: row.not_before,
      deadline: row.deadline,
      spec: row.spec,
      ...rest,
      assignments: mapUnits(assignments, (units: string) => BigInt(units)) as Task["assignments"],
    };
  }
}

function toDocument({ kind, attempts, assignments, error, requestDigest }: Task): string {
  const written = mapUnits(assignments, (units: bigint) => units.toString());
  return JSON.stringify({ kind, attempts, assignments: written, error, requestDigest });
}

/** JSON knows no bigint, so the units of the receipts are text in the document. */
function mapUnits<From, To>(
  assignments: Readonly<Record<Hex, { readonly receipt?: { readonly units: From } }>>,
  map: (units: From) => To,
): Record<Hex, { readonly receipt?: { readonly units: To } }> {
  const mapped: Record<Hex, { readonly receipt?: { readonly units: To } }> = {};
  for (const id in assignments) {
    const { receipt, ...rest } = assignments[id as Hex]!;
    mapped[id as Hex] = receipt === undefined ? rest : { ...rest, receipt: { ...receipt, units: map(receipt.units) } };
  }
  return mapped;
}
