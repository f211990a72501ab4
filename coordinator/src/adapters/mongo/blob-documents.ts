import type { Hex } from "@proof-of-compute/proto";
import type mongoose from "mongoose";
import { MIXED, schemaOf } from "./schema.ts";

/** The last put of a blob. Earlier versions did not store it. */
interface Put {
  /** Drawn for each put. */
  readonly put_id?: string;
  /** By the server's clock. */
  readonly put_at?: Date;
}

/** Name of the index of ages. */
export const AGES = "ages";

export interface BlobDocument extends Put {
  /** The SHA-256 of a small blob, or the GridFS id of a large one during its upload. */
  readonly _id: Hex | string;
  readonly bytes?: mongoose.mongo.Binary;
  /** Start of the upload of a large blob, in milliseconds since 1970. */
  readonly incoming_at?: number;
  /** The upload took too long and was abandoned; its uploader must not rely on it. */
  readonly abandoned?: true;
}

export const blobSchema = schemaOf<BlobDocument>({
  _id: String,
  bytes: MIXED,
  put_id: String,
  put_at: Date,
  incoming_at: Number,
  abandoned: Boolean,
})
  .index({ incoming_at: 1 }, { name: "incoming", sparse: true })
  // Covers queries over many blobs, because each document holds up to a megabyte.
  .index({ _id: 1, put_id: 1, put_at: 1 }, { name: AGES });

/** The GridFS document of a large blob. */
export interface FileDocument {
  readonly _id: mongoose.mongo.ObjectId;
  /** Its SHA-256. */
  readonly filename: Hex;
  readonly metadata?: Put;
}
