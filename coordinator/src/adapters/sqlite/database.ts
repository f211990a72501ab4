import { closeSync, mkdirSync, openSync } from "node:fs";
import { dirname } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { ComputeError } from "../../domain/errors.ts";
import { MIGRATIONS } from "./schema.ts";

/** The primary result codes of SQLite that we distinguish (https://sqlite.org/rescode.html). */
const SQLITE_BUSY = 5;
const SQLITE_READONLY = 8;
const SQLITE_CANTOPEN = 14;
const SQLITE_CONSTRAINT = 19;

/** How long the start waits for an earlier process to close the file, in milliseconds. */
const LOCK_TIMEOUT = 2_000;

function resultCode(error: unknown): number | undefined {
  const errcode = error instanceof Error && "errcode" in error ? error.errcode : undefined;
  return typeof errcode === "number" ? errcode & 0xff : undefined;
}

/**
 * Translates an error for callers of the store: UNAVAILABLE when SQLite or the disk refused, INTERNAL for a broken
 * constraint, which only a bug can cause; others stay as they are.
 */
export function storeError(error: unknown): unknown {
  const code = resultCode(error);
  if (code === undefined) return error;
  if (code === SQLITE_CONSTRAINT) return new ComputeError("INTERNAL", undefined, { cause: error });
  return new ComputeError("UNAVAILABLE", `the store failed: ${(error as Error).message}`, { cause: error });
}

/**
 * Opens the database file, locks it, and updates its schema. Creates a missing file and folder, readable by their owner
 * only. Throws UNAVAILABLE with the reason when another process has the file open, or it cannot be used.
 *
 * The lock is SQLite's exclusive mode: the system releases it when the process ends, so there are no stale lock files,
 * and a WAL that is not shared needs no shared memory. In return, `sqlite3` can read the file only while the coordinator
 * is stopped.
 */
export function openDatabase(path: string): DatabaseSync {
  let database: DatabaseSync | undefined;
  try {
    createPrivately(path);
    database = new DatabaseSync(path, { timeout: LOCK_TIMEOUT });
    database.exec(`
      PRAGMA locking_mode = EXCLUSIVE;
      PRAGMA journal_mode = WAL;
      PRAGMA synchronous = FULL;
      PRAGMA temp_store = MEMORY;
      PRAGMA cache_size = -65536;
      PRAGMA journal_size_limit = 67108864;
    `);
    migrate(database);
    return database;
  } catch (cause) {
    database?.close();
    if (cause instanceof ComputeError) throw cause;
    throw new ComputeError("UNAVAILABLE", refusal(path, cause as Error), { cause });
  }
}

/** Why the file cannot be opened, and what to do. */
function refusal(path: string, cause: Error): string {
  const code = resultCode(cause);
  if (code === SQLITE_BUSY) return `another coordinator uses this data directory: ${dirname(path)}`;
  const isPlace = code === undefined || code === SQLITE_READONLY || code === SQLITE_CANTOPEN;
  const remedy = isPlace ? "; DATA_DIR must name a folder that can be written" : "";
  return `the store ${path} cannot be opened: ${cause.message}${remedy}`;
}

/** Never opens an existing file: closing any descriptor of a file drops the process's POSIX locks on it. */
function createPrivately(path: string): void {
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
  try {
    closeSync(openSync(path, "wx", 0o600));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
  }
}

/** Applies missing migrations. The write also takes the exclusive lock before the first read. */
function migrate(database: DatabaseSync): void {
  database.exec("BEGIN IMMEDIATE");
  const { user_version: version } = database.prepare("PRAGMA user_version").get() as { user_version: number };
  if (version > MIGRATIONS.length) {
    const message = `the store was written by a newer version (schema ${version}, known ${MIGRATIONS.length}); upgrade`;
    throw new ComputeError("UNAVAILABLE", message);
  }
  for (const step of MIGRATIONS.slice(version)) database.exec(step);
  database.exec(`PRAGMA user_version = ${MIGRATIONS.length}; COMMIT`);
}
