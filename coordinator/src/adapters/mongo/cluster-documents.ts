import type { Address, Hex } from "@proof-of-compute/proto";
import type mongoose from "mongoose";
import type { CoordinatorRecord } from "../../domain/owner.ts";
import type { OwnerDocument } from "./owners.ts";
import { MIXED, schemaOf } from "./schema.ts";

export interface CoordinatorDocument {
  /** The coordinator's id. */
  readonly _id: string;
  readonly incarnation: Hex;
  readonly beat: number;
  readonly address: string;
  readonly version: string;
  readonly started_at: number;
}

export const coordinatorSchema = schemaOf<CoordinatorDocument>({
  _id: String,
  incarnation: String,
  beat: Number,
  address: String,
  version: String,
  started_at: Number,
});

export function fromCoordinator(record: CoordinatorRecord): CoordinatorDocument {
  const { coordinatorId, incarnation, beat, address, version, startedAt } = record;
  return { _id: coordinatorId, incarnation, beat, address, version, started_at: startedAt };
}

export function toCoordinator({ _id, incarnation, beat, address, version, started_at }: CoordinatorDocument) {
  return { coordinatorId: _id, incarnation, beat, address, version, startedAt: started_at };
}

/** A held lock; a free one has no document. */
export interface LockDocument extends OwnerDocument {
  /** The lock's name. */
  readonly _id: string;
  /** Lets a writer recognize its own write. */
  readonly write_id: string;
}

export const lockSchema = schemaOf<LockDocument>({
  _id: String,
  coordinator_id: String,
  incarnation: String,
  write_id: String,
});

/** Facts about the store: `contract`, and `secret/NAME` for each secret. */
export interface MetaDocument {
  readonly _id: string;
  readonly chain_id?: number;
  readonly address?: Address;
  readonly bytes?: mongoose.mongo.Binary;
}

export const metaSchema = schemaOf<MetaDocument>({ _id: String, chain_id: Number, address: String, bytes: MIXED });
