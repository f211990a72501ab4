import { isDeepStrictEqual } from "node:util";
import mongoose from "mongoose";
import type { Logger } from "pino";
import type { Models } from "./models.ts";

/** An index, as a schema declares or the server describes it. */
export interface IndexDescription {
  readonly name: string;
  readonly key: Readonly<Record<string, unknown>>;
  readonly unique?: boolean;
  readonly sparse?: boolean;
  readonly partialFilterExpression?: Readonly<Record<string, unknown>>;
}

/** The differences between the declared and the existing indexes of a collection. */
export interface IndexDifference {
  readonly missing: readonly IndexDescription[];
  /** Indexes with a declared name and another definition. */
  readonly differing: readonly IndexDescription[];
  /** Indexes that no schema declares. */
  readonly unknown: readonly IndexDescription[];
}

/** Compares the declared indexes of a collection with the existing ones. */
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

/** Logs missing and differing indexes by name, and builds them. MongoDB stays available meanwhile. */
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
    for (const { name: index } of missing) logger.warn({ collection, index }, "building a missing index");
  }
  for (const { name: index } of differing)
    logger.warn({ collection, index }, "rebuilding an index with another definition");
  for (const { name: index } of unknown) logger.warn({ collection, index }, "leaving an unknown index");
  for (const { name } of differing) await target.dropIndex(name);
  const wanted = [...missing, ...differing];
  if (wanted.length > 0) await build(target, wanted, logger);
}

/** Building over many documents takes longer than a call may; asking again waits for the same build. */
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

/** Whether the server made the index: every collection has one on its `_id`, a sharded one also on its shard key. */
function isServers({ key }: IndexDescription): boolean {
  return "_id" in key ? Object.keys(key).length === 1 : Object.values(key).includes("hashed");
}
