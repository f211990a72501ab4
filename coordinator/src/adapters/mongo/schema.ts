import mongoose from "mongoose";

/**
 * A schema of the shape that one of our mappings writes. Unique is only `_id`, which holds on a sharded cluster for the
 * shard keys that we state: a hashed `_id`, or a field that the `_id` contains.
 */
export function schemaOf<Document extends { readonly _id: string | number }>(
  fields: Readonly<Record<keyof Document & string, unknown>>,
  shardKey: Readonly<Record<string, "hashed">> = { _id: "hashed" },
): mongoose.Schema<Document> {
  const options = { versionKey: false, id: false, autoIndex: false, autoCreate: false, minimize: false } as const;
  return new mongoose.Schema(fields as mongoose.SchemaDefinition, {
    ...options,
    shardKey,
  }) as unknown as mongoose.Schema<Document>;
}

/** Kept only for documents that have the field: an index over what is in motion, not over all that ever was. */
export function whereExists(field: string): { partialFilterExpression: Record<string, unknown> } {
  return { partialFilterExpression: { [field]: { $exists: true } } };
}

/** 64-bit integers. */
export const UNITS = mongoose.Schema.Types.BigInt;
/** A document of its own shape, or bytes. */
export const MIXED = mongoose.Schema.Types.Mixed;
