import type { DatabaseSync, StatementSync } from "node:sqlite";
import { ComputeError } from "../../domain/errors.ts";
import { storeError } from "./database.ts";

/** One call of the store. */
export interface Operation {
  /** A read is answered even if the writes of its group cannot be committed. */
  readonly writes: boolean;
  readonly run: () => unknown;
}

/** The outcome of a call: a durable value, or an error without any change. */
export type Outcome = { readonly value: unknown } | { readonly error: unknown };

/**
 * Runs operations in one transaction, because the flush to disk dominates the cost of a write. An operation that throws
 * rolls back only itself.
 */
export class GroupCommit {
  readonly #database: DatabaseSync;
  readonly #onFailure: (error: unknown, operations: number) => void;
  readonly #statements: Record<"begin" | "commit" | "rollback" | "save" | "release" | "undo", StatementSync>;

  /** `onFailure` is called for a transaction that could not be committed. */
  constructor(database: DatabaseSync, onFailure: (error: unknown, operations: number) => void) {
    this.#database = database;
    this.#onFailure = onFailure;
    this.#statements = {
      begin: database.prepare("BEGIN IMMEDIATE"),
      commit: database.prepare("COMMIT"),
      rollback: database.prepare("ROLLBACK"),
      save: database.prepare("SAVEPOINT operation"),
      release: database.prepare("RELEASE operation"),
      undo: database.prepare("ROLLBACK TO operation"),
    };
  }

  /** Runs the group in order. If it cannot be committed, its writes get UNAVAILABLE. */
  run(group: readonly Operation[]): Outcome[] {
    if (!group.some(({ writes }) => writes)) return group.map(attempt).map(translated);
    try {
      // A savepoint costs more than most writes, so only a group that failed without them gets savepoints.
      return (this.#commit(group, attempt) ?? this.#commit(group, (operation) => this.#guard(operation))!).map(
        translated,
      );
    } catch (cause) {
      if (this.#database.isTransaction) this.#statements.rollback.run();
      this.#onFailure(cause, group.length);
      const error = new ComputeError("UNAVAILABLE", `the store failed: ${(cause as Error).message}`, { cause });
      return group.map((operation) => (operation.writes ? { error } : translated(attempt(operation))));
    }
  }

  /** Null, without a change, if a write without a savepoint threw. */
  #commit(group: readonly Operation[], run: (operation: Operation) => Outcome): Outcome[] | null {
    const { begin, commit, rollback } = this.#statements;
    begin.run();
    const outcomes: Outcome[] = [];
    for (const operation of group) {
      const outcome = run(operation);
      if (run === attempt && operation.writes && "error" in outcome) {
        if (this.#database.isTransaction) rollback.run();
        return null;
      }
      outcomes.push(outcome);
    }
    commit.run();
    return outcomes;
  }

  #guard(operation: Operation): Outcome {
    const { save, release, undo } = this.#statements;
    if (!operation.writes) return attempt(operation);
    save.run();
    const outcome = attempt(operation);
    if ("error" in outcome) {
      // Some errors, such as a full disk, make SQLite roll back the whole transaction, with every write.
      if (!this.#database.isTransaction) throw outcome.error;
      undo.run();
    }
    release.run();
    return outcome;
  }
}

function attempt({ run }: Operation): Outcome {
  try {
    return { value: run() };
  } catch (error) {
    return { error };
  }
}

function translated(outcome: Outcome): Outcome {
  return "error" in outcome ? { error: storeError(outcome.error) } : outcome;
}
