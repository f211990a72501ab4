import { randomUUID } from "node:crypto";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import type { Hex } from "@proof-of-compute/proto";
import mongoose from "mongoose";
import { ComputeError } from "../../domain/errors.ts";
import type { Blobs, StoredBlob } from "../../ports/blobs.ts";
import type { Clock } from "../../ports/clock.ts";
import { checkDigest, digestOf } from "../blob-digests.ts";
import { systemClock } from "../system-clock.ts";
import { AGES } from "./blob-documents.ts";
import type { MongoConnection } from "./connection.ts";
import { upsert } from "./errors.ts";

export interface MongoBlobsComponents {
  readonly connection: Pick<MongoConnection, "trip">;
  readonly clock?: Pick<Clock, "now">;
}

/** A blob above this size is a GridFS file. */
const LARGEST_DOCUMENT = 1 << 20;
/** An upload that takes longer is dead: its coordinator was killed, or gives up when it resumes. */
const LONGEST_UPLOAD_MS = 3_600_000;
/** `putId` of a blob that an earlier version put. */
const UNNOTED = "unnoted";
const ABSENT = { $exists: false } as const;
/** Matches every digest and no note. */
const DIGESTS = { $gte: "0x", $lt: "0y" } as const;

/** A blob as an aggregation reads it, from a document of `blobs` or a GridFS file. */
interface Seen {
  readonly _id: Hex | mongoose.mongo.ObjectId;
  readonly sha256: Hex;
  readonly put_id?: string;
  /** In milliseconds, by the server's clock; null if no put was noted. */
  readonly age: number | bigint | null;
}

/**
 * Blobs by their digest: small ones as documents, large ones in GridFS. A file is visible once all its chunks are stored.
 * During each upload and deletion of a file there is a note; a note older than an hour leads to the chunks that a killed
 * coordinator left, and they are deleted.
 */
export class MongoBlobs implements Blobs {
  readonly #connection: Pick<MongoConnection, "trip">;
  readonly #clock: Pick<Clock, "now">;
  #sweptAt = Number.NEGATIVE_INFINITY;

  constructor({ connection, clock = systemClock }: MongoBlobsComponents) {
    this.#connection = connection;
    this.#clock = clock;
  }

  /** Rejects with INVALID_REQUEST when the bytes do not match the digest, UNAVAILABLE when MongoDB is unavailable. */
  async put(sha256: Hex, bytes: Uint8Array): Promise<void> {
    checkDigest(sha256);
    if (digestOf(bytes) !== sha256) throw new ComputeError("INVALID_REQUEST", "the bytes do not fit their digest");
    if (bytes.length <= LARGEST_DOCUMENT) return this.#upsert(sha256, bytes);
    await this.#endLateUploads();
    const stored = await this.#undamagedFile(sha256);
    // Another coordinator may be deleting the file; renewing it keeps it.
    if (stored && (await this.#renew(stored))) return;
    await this.#upload(sha256, bytes);
  }

  /** Rejects with UNAVAILABLE when the stored bytes are damaged; putting the blob again repairs it. */
  async get(sha256: Hex): Promise<Uint8Array | null> {
    checkDigest(sha256);
    const document = await this.#connection.trip(({ blobs }) => blobs.findOne({ _id: sha256 }));
    const found = document?.bytes
      ? [Uint8Array.from(document.bytes.value())]
      : (await this.#download(sha256)).map(({ bytes }) => bytes);
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

  async find(sha256s: readonly Hex[]): Promise<StoredBlob[]> {
    for (const sha256 of sha256s) checkDigest(sha256);
    const of = { $in: sha256s };
    return [...(await this.#documents(of)), ...(await this.#files(of))].map(toStoredBlob);
  }

  async list({ after, limit }: { readonly after?: Hex; readonly limit: number }): Promise<StoredBlob[]> {
    if (after !== undefined) checkDigest(after);
    if (limit === 0) return [];
    await this.#endLateUploads();
    const range = { ...DIGESTS, ...(after !== undefined && { $gt: after }) };
    const found = [...(await this.#documents(range, limit)), ...(await this.#files(range, limit))]
      .sort((a, b) => (a.sha256 < b.sha256 ? -1 : 1))
      .slice(0, limit);
    await this.#note(found.filter(({ put_id }) => put_id === undefined));
    return found.map(toStoredBlob);
  }

  async delete({ sha256, putId }: Pick<StoredBlob, "sha256" | "putId">): Promise<boolean> {
    checkDigest(sha256);
    const [put, file] = putId.split(" ") as [string, string | undefined];
    const guard = put === UNNOTED ? ABSENT : put;
    if (file !== undefined) return this.#deleteFile(mongoose.mongo.ObjectId.createFromHexString(file), guard);
    const { deletedCount } = await this.#connection.trip(({ blobs }) =>
      blobs.deleteOne({ _id: sha256, put_id: guard as string }),
    );
    return deletedCount === 1;
  }

  async #upsert(sha256: Hex, bytes: Uint8Array): Promise<void> {
    const put = {
      $set: { bytes: new mongoose.mongo.Binary(bytes), put_id: randomUUID() },
      $currentDate: { put_at: true },
    } as const;
    await upsert(() => this.#connection.trip(({ blobs }) => blobs.updateOne({ _id: sha256 }, put, { upsert: true })));
  }

  async #upload(sha256: Hex, bytes: Uint8Array): Promise<void> {
    const id = new mongoose.mongo.ObjectId();
    const _id = id.toHexString();
    await this.#connection.trip(({ blobs }) => blobs.insertOne({ _id, incoming_at: this.#clock.now() }));
    await this.#connection.trip(({ files }) =>
      pipeline(Readable.from([bytes]), files.openUploadStreamWithId(id, sha256)),
    );
    const renewed = await this.#renew(id);
    const note = await this.#connection.trip(({ blobs }) => blobs.findOneAndDelete({ _id }));
    if (renewed && note && !note.abandoned) return;
    // Another coordinator abandoned this upload. Look again once it has deleted the chunks.
    if (renewed && !note && (await this.#undamagedFile(sha256))) return;
    await this.#deleteChunks(id);
    throw new ComputeError("UNAVAILABLE", "the blob came in too slowly and was taken for abandoned; try again");
  }

  /** Documents of these digests, in order. */
  #documents(_id: object, limit?: number): Promise<Seen[]> {
    return this.#connection.trip(({ blobs }) =>
      blobs.aggregate<Seen>(seenBy("_id", _id, "", limit), { hint: AGES }).toArray(),
    );
  }

  /** Files of these digests, in order. */
  #files(filename: object, limit?: number): Promise<Seen[]> {
    return this.#connection.trip(({ file_entries }) =>
      file_entries.aggregate<Seen>(seenBy("filename", filename, "metadata.", limit)).toArray(),
    );
  }

  /** Notes a put for blobs without one. */
  async #note(unnoted: readonly Seen[]): Promise<void> {
    const documents = unnoted.map(({ _id }) => _id).filter((_id) => typeof _id === "string");
    const files = unnoted.map(({ _id }) => _id).filter((_id) => typeof _id !== "string");
    if (documents.length > 0) {
      await this.#connection.trip(({ blobs }) =>
        blobs.updateMany(
          { _id: { $in: documents }, put_id: ABSENT },
          { $set: { put_id: randomUUID() }, $currentDate: { put_at: true } },
        ),
      );
    }
    if (files.length > 0) {
      await this.#connection.trip(({ file_entries }) =>
        file_entries.updateMany(
          { _id: { $in: files }, "metadata.put_id": ABSENT },
          { $set: { "metadata.put_id": randomUUID() }, $currentDate: { "metadata.put_at": true } },
        ),
      );
    }
  }

  /** Renews a file; false when it was deleted. */
  async #renew(id: mongoose.mongo.ObjectId): Promise<boolean> {
    const { matchedCount } = await this.#connection.trip(({ file_entries }) =>
      file_entries.updateOne(
        { _id: id },
        { $set: { "metadata.put_id": randomUUID() }, $currentDate: { "metadata.put_at": true } },
      ),
    );
    return matchedCount === 1;
  }

  /** Every file of a digest. Coordinators that put the same bytes at once each made one. */
  async #download(sha256: Hex): Promise<{ readonly id: mongoose.mongo.ObjectId; readonly bytes: Uint8Array }[]> {
    const found: { id: mongoose.mongo.ObjectId; bytes: Uint8Array }[] = [];
    for (const id of await this.#filesOf(sha256)) {
      const bytes = await this.#read(id);
      if (!bytes) continue;
      found.push({ id, bytes: new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.length) });
      if (digestOf(bytes) === sha256) break;
    }
    return found;
  }

  /** Undefined when the file is being deleted. */
  async #read(id: mongoose.mongo.ObjectId): Promise<Buffer | undefined> {
    try {
      return await this.#connection.trip(async ({ files }) => {
        const parts: Buffer[] = [];
        for await (const part of files.openDownloadStream(id)) parts.push(part);
        return Buffer.concat(parts);
      });
    } catch (error) {
      const isStored = await this.#connection.trip(({ files }) => files.find({ _id: id }).hasNext());
      if (isStored) throw error;
      return undefined;
    }
  }

  async #undamagedFile(sha256: Hex): Promise<mongoose.mongo.ObjectId | undefined> {
    const found = await this.#download(sha256);
    return found.find(({ bytes }) => digestOf(bytes) === sha256)?.id;
  }

  async #filesOf(sha256: Hex): Promise<mongoose.mongo.ObjectId[]> {
    const found = await this.#connection.trip(({ files }) => files.find({ filename: sha256 }).toArray());
    return found.map(({ _id }) => _id);
  }

  /** False when the blob was put again, or another coordinator deleted it. */
  async #deleteFile(id: mongoose.mongo.ObjectId, put: string | typeof ABSENT): Promise<boolean> {
    const _id = id.toHexString();
    const note = { $setOnInsert: { incoming_at: this.#clock.now() } };
    await upsert(() => this.#connection.trip(({ blobs }) => blobs.updateOne({ _id }, note, { upsert: true })));
    const { deletedCount } = await this.#connection.trip(({ file_entries }) =>
      file_entries.deleteOne({ _id: id, "metadata.put_id": put as string }),
    );
    if (deletedCount === 1) await this.#deleteChunks(id);
    await this.#connection.trip(({ blobs }) => blobs.deleteOne({ _id }));
    return deletedCount === 1;
  }

  /** Deletes an abandoned file, complete or not. Another coordinator may do the same. */
  async #deleteChunks(id: mongoose.mongo.ObjectId): Promise<void> {
    await this.#connection.trip(({ file_entries }) => file_entries.deleteOne({ _id: id }));
    await this.#connection.trip(({ file_chunks }) => file_chunks.deleteMany({ files_id: id }));
  }

  /** Deletes the chunks of uploads and deletions that killed coordinators left unfinished. Runs once an hour. */
  async #endLateUploads(): Promise<void> {
    const now = this.#clock.now();
    if (now - this.#sweptAt < LONGEST_UPLOAD_MS) return;
    const late = await this.#connection.trip(({ blobs }) =>
      blobs.find({ incoming_at: { $lt: now - LONGEST_UPLOAD_MS } }, { projection: { _id: 1 } }).toArray(),
    );
    for (const { _id } of late) await this.#endUpload(_id);
    this.#sweptAt = now;
  }

  /**
   * Keeps a complete file. The note of an incomplete one stays until its chunks are deleted, so a crash here does no
   * harm.
   */
  async #endUpload(note: string): Promise<void> {
    const id = mongoose.mongo.ObjectId.createFromHexString(note);
    const isWhole = await this.#connection.trip(({ files }) => files.find({ _id: id }).hasNext());
    if (!isWhole) {
      const { matchedCount } = await this.#connection.trip(({ blobs }) =>
        blobs.updateOne({ _id: note }, { $set: { abandoned: true } }),
      );
      if (matchedCount === 0) return;
      await this.#deleteChunks(id);
    }
    await this.#connection.trip(({ blobs }) => blobs.deleteOne({ _id: note }));
  }
}

/** Reads everything of a blob except its bytes. */
function seenBy(name: "_id" | "filename", digests: object, put: "" | "metadata.", limit?: number) {
  return [
    { $match: { [name]: digests } },
    { $sort: { [name]: 1 } },
    ...(limit === undefined ? [] : [{ $limit: limit }]),
    { $project: { sha256: `$${name}`, put_id: `$${put}put_id`, age: { $subtract: ["$$NOW", `$${put}put_at`] } } },
  ];
}

function toStoredBlob({ _id, sha256, put_id: put = UNNOTED, age }: Seen): StoredBlob {
  return {
    sha256,
    putId: typeof _id === "string" ? put : `${put} ${_id.toHexString()}`,
    ...(age !== null && { ageMs: Number(age) }),
  };
}
