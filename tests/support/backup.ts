import { copyFile, rm } from "node:fs/promises";
import { sqlitePath } from "@proof-of-compute/coordinator/compose/open-store";
import { mongo } from "mongoose";
import { storeSettings } from "./store.ts";

/** Keeps the stored types, so that the restored data is the same. */
const AS_STORED = { promoteValues: false, promoteLongs: false, promoteBuffers: false, bsonRegExp: true } as const;

/** Copies the data of a stopped store; the returned function restores it. */
export async function backUp(dataDir: string): Promise<() => Promise<void>> {
  const { MONGODB_URI } = await storeSettings(dataDir);
  if (MONGODB_URI) return backUpMongo(MONGODB_URI);
  const [file] = filesOf(dataDir);
  await copyFile(file!, `${file}.backup`);
  return () => copyFile(`${file}.backup`, file!);
}

/** Deletes the data of a stopped store. */
export async function wipeOut(dataDir: string): Promise<void> {
  const { MONGODB_URI } = await storeSettings(dataDir);
  if (MONGODB_URI) await withDatabase(MONGODB_URI, (database) => database.dropDatabase());
  else for (const file of filesOf(dataDir)) await rm(file, { force: true });
}

function filesOf(dataDir: string): string[] {
  return ["", "-wal", "-shm"].map((suffix) => `${sqlitePath(dataDir)}${suffix}`);
}

async function backUpMongo(uri: string): Promise<() => Promise<void>> {
  const copy = new Map<string, mongo.Document[]>();
  await withDatabase(uri, async (database) => {
    for (const { collectionName } of await database.collections()) {
      copy.set(collectionName, await database.collection(collectionName).find({}, AS_STORED).toArray());
    }
  });
  return () =>
    withDatabase(uri, async (database) => {
      for (const collection of await database.collections()) {
        const documents = copy.get(collection.collectionName) ?? [];
        await collection.deleteMany({});
        if (documents.length > 0) await collection.insertMany(documents);
      }
    });
}

async function withDatabase<T>(uri: string, work: (database: mongo.Db) => Promise<T>): Promise<T> {
  const client = await mongo.MongoClient.connect(uri);
  try {
    return await work(client.db());
  } finally {
    await client.close();
  }
}
