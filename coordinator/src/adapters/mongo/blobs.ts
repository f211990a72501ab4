import { hash } from "node:crypto";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import type { Hex } from "@proof-of-compute/proto";
import mongoose from "mongoose";
import { ComputeError } from "../../domain/errors.ts";
import type { Blobs } from "../../ports/blobs.ts";
import type { Clock } from "../../ports/clock.ts";
import { systemClock } from "../system-clock.ts";
import type { MongoConnection } from "./connection.ts";
import { upsert } from "./errors.ts";

export interface MongoBlobsComponents {
  readonly connection: Pick<MongoConnection, "trip">;
  readonly clock?: Pick<Clock, "now">;
}

/** Above it a blob is a file of GridFS. */
const LARGEST_DOCUMENT = 1 << 20;
/** An upload that took longer is dead: its coordinator was killed, or gives up when it comes back. */
const LONGEST_UPLOAD_MS = 3_600_000;

/**
 * Blobs by their digest, small ones as documents, large ones in GridFS. A file shows only when all of it is there; what a
 * killed coordinator left of one is known by the note that it made before, and goes an hour later.
 */
export class MongoBlobs implements Blobs {
  readonly #connection: Pick<MongoConnection, "trip">;
  readonly #clock: Pick<Clock, "now">;
  #sweptAt = Number.NEGATIVE_INFINITY;

  constructor({ connection, clock = systemClock }: MongoBlobsComponents) {
    this.#connection = connection;
    this.#clock = clock;
  }

  /** Rejects with INVALID_REQUEST when the bytes are others than the digest says, UNAVAILABLE when MongoDB is away. */
  async put(sha256: Hex, bytes: Uint8Array): Promise<void> {
    checkDigest(sha256);
    if (digestOf(bytes) !== sha256) throw new ComputeError("INVALID_REQUEST", "the bytes do not fit their digest");
    if (bytes.length <= LARGEST_DOCUMENT) return this.#insert(sha256, bytes);
    await this.#sweep();
    if (await this.#isUndamaged(sha256)) return;
    await this.#upload(sha256, bytes);
  }

  /** Rejects with UNAVAILABLE when the stored bytes are damaged; putting the blob again mends it. */
  async get(sha256: Hex): Promise<Uint8Array | null> {
    checkDigest(sha256);
    const document = await this.#connection.trip(({ blobs }) => blobs.findOne({ _id: sha256 }));
    const found = document?.bytes ? [Uint8Array.from(document.bytes.value())] : await this.#download(sha256);
    if (found.length === 0) return null;
    const whole = found.find((bytes) => digestOf(bytes) === sha256);
    if (!whole) throw new ComputeError("UNAVAILABLE", `the blob ${sha256} is damaged in the database`);
    return whole;
  }

  async has(sha256: Hex): Promise<boolean> {
    checkDigest(sha256);
    const document = await this.#connection.trip(({ blobs }) =>
      blobs.findOne({ _id: sha256 }, { projection: { _id: 1 } }),
    );
    return document !== null || (await this.#filesOf(sha256)).length > 0;
  }

  async delete(sha256: Hex): Promise<void> {
    checkDigest(sha256);
    await this.#connection.trip(({ blobs }) => blobs.deleteOne({ _id: sha256 }));
    for (const id of await this.#filesOf(sha256)) await this.#deleteFile(id);
  }

  async #insert(sha256: Hex, bytes: Uint8Array): Promise<void> {
    const document = { bytes: new mongoose.mongo.Binary(bytes) };
    await upsert(() =>
      this.#connection.trip(({ blobs }) => blobs.replaceOne({ _id: sha256 }, document, { upsert: true })),
    );
  }

  async #upload(sha256: Hex, bytes: Uint8Array): Promise<void> {
    const id = new mongoose.mongo.ObjectId();
    const _id = id.toHexString();
    await this.#connection.trip(({ blobs }) => blobs.insertOne({ _id, incoming_at: this.#clock.now() }));
    await this.#connection.trip(({ files }) =>
      pipeline(Readable.from([bytes]), files.openUploadStreamWithId(id, sha256)),
    );
    const note = await this.#connection.trip(({ blobs }) => blobs.findOneAndDelete({ _id }));
    if (note && !note.abandoned) return;
    // Somebody took us for dead. Where he is done, what he left can be looked at.
    if (!note && (await this.#isUndamaged(sha256))) return;
    await this.#deleteFile(id);
    throw new ComputeError("UNAVAILABLE", "the blob came in too slowly and was taken for abandoned; try again");
  }

  /** Every file of that digest; coordinators that were given the same bytes at once made one each. */
  async #download(sha256: Hex): Promise<Uint8Array[]> {
    const found: Uint8Array[] = [];
    for (const id of await this.#filesOf(sha256)) {
      const bytes = await this.#connection.trip(async ({ files }) => {
        const parts: Buffer[] = [];
        for await (const part of files.openDownloadStream(id)) parts.push(part);
        return Buffer.concat(parts);
      });
      found.push(new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.length));
      if (digestOf(bytes) === sha256) break;
    }
    return found;
  }

  async #isUndamaged(sha256: Hex): Promise<boolean> {
    const found = await this.#download(sha256);
    return found.some((bytes) => digestOf(bytes) === sha256);
  }

  async #filesOf(sha256: Hex): Promise<mongoose.mongo.ObjectId[]> {
    const found = await this.#connection.trip(({ files }) => files.find({ filename: sha256 }).toArray());
    return found.map(({ _id }) => _id);
  }

  /** Another coordinator may be quicker. */
  async #deleteFile(id: mongoose.mongo.ObjectId): Promise<void> {
    await this.#connection.trip(async ({ files }) => {
      try {
        await files.delete(id);
      } catch (error) {
        if (!/^File not found/.test((error as Error).message)) throw error;
      }
    });
  }

  /** Drops what killed coordinators left half-written. */
  async #sweep(): Promise<void> {
    const now = this.#clock.now();
    if (now - this.#sweptAt < LONGEST_UPLOAD_MS) return;
    const late = await this.#connection.trip(({ blobs }) =>
      blobs.find({ incoming_at: { $lt: now - LONGEST_UPLOAD_MS } }, { projection: { _id: 1 } }).toArray(),
    );
    for (const { _id } of late) await this.#endUpload(_id);
    this.#sweptAt = now;
  }

  /** Keeps a file that is whole. The note of another stays until its pieces are gone, so that a crash here is harmless. */
  async #endUpload(note: string): Promise<void> {
    const id = mongoose.mongo.ObjectId.createFromHexString(note);
    const isWhole = await this.#connection.trip(({ files }) => files.find({ _id: id }).hasNext());
    if (!isWhole) {
      const { matchedCount } = await this.#connection.trip(({ blobs }) =>
        blobs.updateOne({ _id: note }, { $set: { abandoned: true } }),
      );
      if (matchedCount === 0) return;
      await this.#deleteFile(id);
    }
    await this.#connection.trip(({ blobs }) => blobs.deleteOne({ _id: note }));
  }
}

function digestOf(bytes: Uint8Array): Hex {
  return `0x${hash("sha256", bytes, "hex")}`;
}

function checkDigest(sha256: Hex): void {
  if (!/^0x[0-9a-f]{64}$/.test(sha256)) throw new ComputeError("INVALID_REQUEST", "not a SHA-256 digest");
}
