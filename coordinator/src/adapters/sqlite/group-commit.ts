import type { DatabaseSync, StatementSync } from "node:sqlite";
import type { Logger } from "pino";
import { ComputeError } from "../../domain/errors.ts";
import { storeError } from "./database.ts";

/** Operations in one transaction at most: more gain little and hold up the event loop (1,000 for some 14 ms). */
const MAX_OPERATIONS = 256;

interface Waiting {
  readonly run: () => unknown;
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: unknown) => void;
}

/**
 * Runs the writes of one event-loop turn in one transaction, because the disk's flush is what a write costs. Each write
 * has a savepoint, so that one which throws takes back only itself; each caller hears only once all is durable.
 */
export class GroupCommit {
  readonly #logger: Pick<Logger, "error">;
  readonly #database: DatabaseSync;
  readonly #statements: Record<"begin" | "commit" | "rollback" | "save" | "release" | "undo", StatementSync>;
  #waiting: Waiting[] = [];

  constructor({ logger, database }: { logger: Pick<Logger, "error">; database: DatabaseSync }) {
    this.#logger = logger;
    this.#database = database;
    this.#statements = {
      begin: database.prepare("BEGIN IMMEDIATE"),
      commit: database.prepare("COMMIT"),
      rollback: database.prepare("ROLLBACK"),
      save: database.prepare("SAVEPOINT operation"),
      release: database.prepare("RELEASE operation"),
      undo: database.prepare("ROLLBACK TO operation"),
    };
  }

  /**
   * Queues one operation. Resolves with what it returned once that is durable; rejects with what it threw, or with
   * UNAVAILABLE when the transaction failed. Either way a rejected operation has changed nothing.
   */
  write<T>(operation: () => T): Promise<T> {
    if (this.#waiting.length === 0) setImmediate(() => this.#turn());
    return new Promise<T>((resolve, reject) => {
      this.#waiting.push({ run: operation, resolve: resolve as (value: unknown) => void, reject });
    });
  }

  /** Commits everything that waits, now. */
  flush(): void {
    while (this.#waiting.length > 0) this.#commit();
  }

  #turn(): void {
    if (this.#waiting.length > 0) this.#commit();
    if (this.#waiting.length > 0) setImmediate(() => this.#turn());
  }

  #commit(): void {
    const group = this.#waiting.splice(0, MAX_OPERATIONS);
    const { begin, commit, rollback } = this.#statements;
    try {
      begin.run();
      const answers = group.map((waiting) => this.#attempt(waiting));
      commit.run();
      for (const answer of answers) answer();
    } catch (cause) {
      if (this.#database.isTransaction) rollback.run();
      this.#logger.error({ err: cause, operations: group.length }, "commit failed");
      const error = new ComputeError("UNAVAILABLE", `the store failed: ${(cause as Error).message}`, { cause });
      for (const { reject } of group) reject(error);
    }
  }

  /** Runs one operation within the transaction and returns how to tell its caller, for after the commit. */
  #attempt({ run, resolve, reject }: Waiting): () => void {
    const { save, release, undo } = this.#statements;
    save.run();
    try {
      const value = run();
      release.run();
      return () => resolve(value);
    } catch (error) {
      // Some errors (a full disk, say) make SQLite roll back the whole transaction: then nobody's write is left.
      if (!this.#database.isTransaction) throw error;
      undo.run();
      release.run();
      return () => reject(storeError(error));
    }
  }
}
