import { lutimes, readdir } from "node:fs/promises";
import { join } from "node:path";
import type { MongoConnection } from "@proof-of-compute/coordinator/adapters/mongo/connection";

/** Makes every blob in a folder of FsBlobs older by this many milliseconds. */
export async function makeFilesOlder(directory: string, ms: number): Promise<void> {
  const at = new Date(Date.now() - ms);
  for (const entry of await readdir(directory, { recursive: true, withFileTypes: true })) {
    if (entry.isFile()) await lutimes(join(entry.parentPath, entry.name), at, at);
  }
}

/** Makes every blob in a database older by this many milliseconds. */
export async function makeDocumentsOlder(connection: MongoConnection, ms: number): Promise<void> {
  const put_at = new Date(Date.now() - ms);
  await connection.trip(async ({ blobs, file_entries }) => {
    await blobs.updateMany({ put_at: { $exists: true } }, { $set: { put_at } });
    await file_entries.updateMany({ "metadata.put_at": { $exists: true } }, { $set: { "metadata.put_at": put_at } });
  });
}
