import mongoose from "mongoose";
import { type BatchDocument, batchSchema } from "./batch-documents.ts";
import { type BlobDocument, blobSchema, type FileDocument } from "./blob-documents.ts";
import {
  type CoordinatorDocument,
  coordinatorSchema,
  type LockDocument,
  lockSchema,
  type MetaDocument,
  metaSchema,
} from "./cluster-documents.ts";
import { type NodeDocument, nodeSchema, type StandingDocument, standingSchema } from "./node-documents.ts";
import { type ReceiptDocument, receiptSchema } from "./receipt-documents.ts";
import { type TaskDocument, taskSchema } from "./task-documents.ts";

/** The driver's collections, by name. */
export interface Collections {
  readonly exo_nodes: mongoose.mongo.Collection<NodeDocument>;
  readonly standings: mongoose.mongo.Collection<StandingDocument>;
  readonly tasks: mongoose.mongo.Collection<TaskDocument>;
  readonly receipts: mongoose.mongo.Collection<ReceiptDocument>;
  readonly batches: mongoose.mongo.Collection<BatchDocument>;
  readonly coordinators: mongoose.mongo.Collection<CoordinatorDocument>;
  readonly locks: mongoose.mongo.Collection<LockDocument>;
  readonly meta: mongoose.mongo.Collection<MetaDocument>;
  readonly blobs: mongoose.mongo.Collection<BlobDocument>;
  /** GridFS, for blobs that are too large for a document of `blobs`. */
  readonly files: mongoose.mongo.GridFSBucket;
  /** The collections of GridFS. */
  readonly file_entries: mongoose.mongo.Collection<FileDocument>;
  readonly file_chunks: mongoose.mongo.Collection<{ readonly files_id: mongoose.mongo.ObjectId }>;
}

const SCHEMAS = {
  exo_nodes: nodeSchema,
  standings: standingSchema,
  tasks: taskSchema,
  receipts: receiptSchema,
  batches: batchSchema,
  coordinators: coordinatorSchema,
  locks: lockSchema,
  meta: metaSchema,
  blobs: blobSchema,
};

/** One schema for each collection, under its name. */
export type Models = Readonly<Record<keyof typeof SCHEMAS, mongoose.Model<unknown>>>;

/** Defines the models on a connection: shape, indexes and shard key of each collection. */
export function defineModels(connection: mongoose.Connection): Models {
  const models = Object.entries(SCHEMAS).map(([name, schema]) => [name, connection.model(name, schema, name)]);
  return Object.fromEntries(models);
}

/**
 * The collections of the models. Commands use them directly: our mappings write and read each document, and casting it
 * again in the model would cost more than the write.
 */
export function collectionsOf(models: Models, connection: mongoose.Connection): Collections {
  const database = connection.db!;
  const collections = Object.keys(models).map((name) => [name, database.collection(name)]);
  return {
    ...Object.fromEntries(collections),
    files: new mongoose.mongo.GridFSBucket(database, { bucketName: "blobs" }),
    file_entries: database.collection("blobs.files"),
    file_chunks: database.collection("blobs.chunks"),
  };
}
