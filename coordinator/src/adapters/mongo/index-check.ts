import { isDeepStrictEqual } from "node:util";
import mongoose from "mongoose";
import type { Logger } from "pino";
import type { Models } from "./models.ts";

/** An index as a schema declares it, or as the server describes it. */
export interface IndexDescription {
  readonly name: string;
  readonly key: Readonly<Record<string, unknown>>;
  readonly unique?: boolean;
  readonly sparse?: boolean;
  readonly partialFilterExpression?: Readonly<Record<string, unknown>>;
}

/** What has to be done so that the indexes of a collection are those declared. */
export interface IndexDifference {
  readonly missing: readonly IndexDescription[];
  /** Of a declared name, but otherwise. */
  readonly differing: readonly IndexDescription[];
  /** Somebody else's. */
  readonly unknown: readonly IndexDescription[];
}

/** Compares the declared indexes of a collection with those that it has. */
export function compareIndexes(
  declared: readonly IndexDescription[],
  present: readonly IndexDescription[],
): IndexDifference {
  const byName = new Map(present.map((index) => [index.name, index]));
  const names = new Set(declared.map(({ name }) => name));
  return {
    missing: declared.filter(({ name }) => !byName.has(name)),
    differing: declared.filter((index) => byName.has(index.name) && !isSame(index, byName.get(index.name)!)),
    unknown: present.filter((index) => !names.has(index.name) && !isServers(index)),
  };
}

/** Reports what differs from the declared indexes, by name, and builds it; MongoDB serves on meanwhile. */
export async function checkIndexes(models: Models, logger: Logger): Promise<void> {
  for (const [collection, model] of Object.entries(models)) await checkCollection(collection, model, logger);
}

async function checkCollection(collection: string, model: mongoose.Model<unknown>, logger: Logger): Promise<void> {
  const database = model.db.db!;
  const declared = model.schema.indexes().map(([key, { name, unique, sparse, partialFilterExpression }]) => ({
    key,
    name,
    ...(unique && { unique: true }),
    ...(sparse && { sparse }),
    ...(partialFilterExpression && { partialFilterExpression }),
  })) as IndexDescription[];
  const isNew = (await database.listCollections({ name: collection }, { nameOnly: true }).toArray()).length === 0;
  const target = database.collection(collection);
  const present = isNew ? [] : ((await target.listIndexes().toArray()) as unknown as IndexDescription[]);
  const { missing, differing, unknown } = compareIndexes(declared, present);
  if (!isNew) {
    for (const { name: index } of missing) logger.warn({ collection, index }, "an index is missing and is built");
  }
  for (const { name: index } of differing) logger.warn({ collection, index }, "an index differs and is built anew");
  for (const { name: index } of unknown) logger.warn({ collection, index }, "an index is not known here; it is left");
  for (const { name } of differing) await target.dropIndex(name);
  const wanted = [...missing, ...differing];
  if (wanted.length > 0) await build(target, wanted, logger);
}

/** To build over many documents takes longer than a call may; asking again waits for the same build. */
async function build(target: mongoose.mongo.Collection, wanted: IndexDescription[], logger: Logger): Promise<void> {
  for (;;) {
    try {
      await target.createIndexes(wanted as mongoose.mongo.IndexDescription[]);
      return;
    } catch (error) {
      if (!(error instanceof mongoose.mongo.MongoNetworkTimeoutError)) throw error;
      logger.info({ collection: target.collectionName }, "indexes are still being built");
    }
  }
}

function isSame(declared: IndexDescription, present: IndexDescription): boolean {
  const essence = ({ key, unique, sparse, partialFilterExpression }: IndexDescription) => [
    Object.entries(key).map(([field, order]) => [field, Number(order)]),
    Boolean(unique),
    Boolean(sparse),
    partialFilterExpression ?? null,
  ];
  return isDeepStrictEqual(essence(declared), essence(present));
}

/** Every collection has one on its `_id`, a sharded one another on its shard key. */
function isServers({ key }: IndexDescription): boolean {
  return "_id" in key ? Object.keys(key).length === 1 : Object.values(key).includes("hashed");
}
