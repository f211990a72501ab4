import { join } from "node:path";
import type { Logger } from "pino";
import { FsBlobs } from "../adapters/fs-blobs.ts";
import { SqliteStore } from "../adapters/sqlite/store.ts";
import type { ComputeError } from "../domain/errors.ts";
import type { Blobs } from "../ports/blobs.ts";
import type { Store } from "../ports/store.ts";
import type { Settings } from "../settings/table.ts";

/** The store and the blobs, which outlive the coordinator. */
export interface OpenStore {
  readonly store: Store;
  readonly blobs: Blobs;
  /** Resolves when this process has lost the store for good. */
  readonly lost: Promise<ComputeError>;
  stop(): Promise<void>;
}

/** The file of a SQLite store in its data folder. */
export function sqlitePath(dataDir: string): string {
  return join(dataDir, "coordinator.sqlite");
}

/** Opens the store of the settings. Throws UNAVAILABLE when it cannot be opened; the message says what to do. */
export async function openStore(
  settings: Pick<Settings, "MONGODB_URI" | "DATA_DIR">,
  logger: Logger,
): Promise<OpenStore> {
  if (settings.MONGODB_URI === undefined) {
    const store = new SqliteStore({ logger }, { path: sqlitePath(settings.DATA_DIR) });
    await store.start();
    return {
      store,
      blobs: new FsBlobs({}, { directory: join(settings.DATA_DIR, "blobs") }),
      lost: store.lost,
      stop: () => store.stop(),
    };
  }
  // Loaded on demand: the driver takes time and memory that an embedded store does not need.
  const [{ MongoConnection }, { MongoStore }, { MongoBlobs }] = await Promise.all([
    import("../adapters/mongo/connection.ts"),
    import("../adapters/mongo/store.ts"),
    import("../adapters/mongo/blobs.ts"),
  ]);
  const connection = new MongoConnection({ logger }, { uri: settings.MONGODB_URI });
  const store = new MongoStore({ connection, logger });
  await store.start();
  // A server that is unavailable comes back.
  const lost = new Promise<ComputeError>(() => {});
  return { store, blobs: new MongoBlobs({ connection }), lost, stop: () => store.stop() };
}
