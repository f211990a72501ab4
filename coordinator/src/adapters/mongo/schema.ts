import mongoose from "mongoose";

/**
 * A schema of the documents that one of our mappings writes. Only `_id` is unique. That holds on a sharded cluster with
 * the declared shard keys: a hashed `_id`, or a field that the `_id` contains.
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

/** Restricts an index to documents with the field, so that it covers present work instead of all history. */
export function whereExists(field: string): { partialFilterExpression: Record<string, unknown> } {
  return { partialFilterExpression: { [field]: { $exists: true } } };
}

/** 64-bit integers. */
export const UNITS = mongoose.Schema.Types.BigInt;
/** A document of its own shape, or bytes. */
export const MIXED = mongoose.Schema.Types.Mixed;
