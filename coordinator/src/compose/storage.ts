import { Retention } from "../services/retention.ts";
import type { Settings } from "../settings/table.ts";
import { type OpenStore, openStore } from "./open-store.ts";
import { type Base, closing } from "./part.ts";

/** The part that has the store and the blobs. */
export type StoragePart = Pick<OpenStore, "store" | "blobs" | "lost"> & AsyncDisposable;

/** Throws UNAVAILABLE when the store cannot be opened; the message says what to do. */
export async function openStorage(
  base: Base,
  settings: Pick<Settings, "MONGODB_URI" | "DATA_DIR">,
): Promise<StoragePart> {
  const { store, blobs, lost, stop } = await openStore(settings, base.logger);
  return { store, blobs, lost, ...closing(base, "store", stop) };
}

/** Starts to prune expired results and tasks. */
export function openRetention(
  base: Base,
  { store, blobs }: Pick<StoragePart, "store" | "blobs">,
  settings: Pick<Settings, "RESULT_RETENTION" | "TASK_RETENTION">,
): AsyncDisposable {
  const { RESULT_RETENTION: retentionMs, TASK_RETENTION: taskRetentionMs } = settings;
  const retention = new Retention({ ...base, store, blobs }, { retentionMs, taskRetentionMs });
  retention.start();
  return closing(base, "retention", () => retention.stop());
}
