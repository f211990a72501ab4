import type { Hex } from "@proof-of-compute/proto";
import type mongoose from "mongoose";
import { MIXED, schemaOf } from "./schema.ts";

export interface BlobDocument {
  /** The SHA-256 of a small blob, or the GridFS id of a large one while it comes in. */
  readonly _id: Hex | string;
  readonly bytes?: mongoose.mongo.Binary;
  /** When a large blob began to come in, in milliseconds since 1970. */
  readonly incoming_at?: number;
  /** It took too long; whoever still uploads it must not rely on it. */
  readonly abandoned?: true;
}

export const blobSchema = schemaOf<BlobDocument>({
  _id: String,
  bytes: MIXED,
  incoming_at: Number,
  abandoned: Boolean,
}).index({ incoming_at: 1 }, { name: "incoming", sparse: true });
