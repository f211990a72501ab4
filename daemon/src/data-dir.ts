import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { DaemonError } from "./errors.ts";
import { type Identity, loadIdentity } from "./identity.ts";

/** A directory that belongs to one daemon. */
export interface DataDir {
  readonly identity: Identity;
  /** Releases it. Safe to repeat. */
  close(): void;
}

/**
 * Locks a directory for this daemon; the first start creates it and the node key in it. Throws a {@link DaemonError}
 * (DATA_DIR, KEY).
 */
export async function openDataDir(path: string): Promise<DataDir> {
  const close = await lock(path);
  try {
    return { identity: await loadIdentity(path), close };
  } catch (error) {
    close();
    throw error;
  }
}

/** SQLite holds a lock of the operating system, which ends with the process, however the process ends. */
async function lock(dataDir: string): Promise<() => void> {
  try {
    await mkdir(dataDir, { recursive: true, mode: 0o700 });
    const database = new DatabaseSync(join(dataDir, "lock"), { timeout: 0 });
    try {
      database.exec("PRAGMA journal_mode = MEMORY; BEGIN EXCLUSIVE");
    } catch (error) {
      database.close();
      throw error;
    }
    return () => {
      if (database.isOpen) database.close();
    };
  } catch (error) {
    const SQLITE_BUSY = 5;
    if ((error as { errcode?: number }).errcode === SQLITE_BUSY) {
      throw new DaemonError(
        "DATA_DIR",
        `another daemon runs in ${dataDir}; stop it, or give this one its own with --data-dir`,
        { cause: error },
      );
    }
    const why = error instanceof Error ? error.message : String(error);
    throw new DaemonError(
      "DATA_DIR",
      `cannot write to the data directory ${dataDir} (${why}); choose one with --data-dir`,
      {
        cause: error,
      },
    );
  }
}
