import { randomBytes, randomUUID } from "node:crypto";
import type { Address } from "@proof-of-compute/proto";
import mongoose from "mongoose";
import { ComputeError } from "../../domain/errors.ts";
import type { CoordinatorRecord, Owner } from "../../domain/owner.ts";
import { fromCoordinator, toCoordinator } from "./cluster-documents.ts";
import type { MongoConnection } from "./connection.ts";
import { isDuplicateKey, upsert } from "./errors.ts";
import { fromOwner, toOwner } from "./owners.ts";

interface Contract {
  readonly chainId: number;
  readonly address: Address;
}

const CONTRACT = "contract";
const SECRET_BYTES = 32;

/** The coordinators' records, locks, contract and secrets. */
export class MongoCluster {
  readonly #connection: Pick<MongoConnection, "trip">;

  constructor(connection: Pick<MongoConnection, "trip">) {
    this.#connection = connection;
  }

  async register(record: CoordinatorRecord): Promise<void> {
    const { _id, ...replacement } = fromCoordinator(record);
    await upsert(() =>
      this.#connection.trip(({ coordinators }) => coordinators.replaceOne({ _id }, replacement, { upsert: true })),
    );
  }

  async beat({ coordinatorId, incarnation }: Owner): Promise<boolean> {
    const { matchedCount } = await this.#connection.trip(({ coordinators }) =>
      coordinators.updateOne({ _id: coordinatorId, incarnation }, { $inc: { beat: 1 } }),
    );
    return matchedCount === 1;
  }

  async deregister({ coordinatorId, incarnation }: Owner): Promise<void> {
    await this.#connection.trip(({ coordinators }) => coordinators.deleteOne({ _id: coordinatorId, incarnation }));
  }

  async coordinators(): Promise<CoordinatorRecord[]> {
    const found = await this.#connection.trip(({ coordinators }) => coordinators.find().sort({ _id: 1 }).toArray());
    return found.map(toCoordinator);
  }

  async lockHolder(name: string): Promise<Owner | null> {
    const lock = await this.#connection.trip(({ locks }) => locks.findOne({ _id: name }));
    return lock && toOwner(lock);
  }

  takeLock(name: string, owner: Owner, from: Owner | null): Promise<boolean> {
    const lock = { ...fromOwner(owner), write_id: randomUUID() };
    return this.#connection.trip(async ({ locks }) => {
      if (from) {
        const { matchedCount } = await locks.updateOne({ _id: name, ...fromOwner(from) }, { $set: lock });
        return matchedCount === 1;
      }
      try {
        await locks.insertOne({ _id: name, ...lock });
        return true;
      } catch (error) {
        if (!isDuplicateKey(error)) throw error;
        return (await locks.findOne({ _id: name }))?.write_id === lock.write_id;
      }
    });
  }

  async releaseLock(name: string, owner: Owner): Promise<void> {
    await this.#connection.trip(({ locks }) => locks.deleteOne({ _id: name, ...fromOwner(owner) }));
  }

  async boundTo(): Promise<Contract | null> {
    const found = await this.#connection.trip(({ meta }) => meta.findOne({ _id: CONTRACT }));
    return found && { chainId: found.chain_id!, address: found.address! };
  }

  async bind({ chainId, address }: Contract, rebind: boolean): Promise<void> {
    const contract = { chain_id: chainId, address };
    if (rebind) {
      await upsert(() =>
        this.#connection.trip(({ meta }) => meta.replaceOne({ _id: CONTRACT }, contract, { upsert: true })),
      );
      return;
    }
    await this.#connection.trip(({ meta }) => insertOnce(meta, CONTRACT, contract));
    const bound = await this.boundTo();
    if (bound?.chainId === chainId && bound.address === address) return;
    const message = `the store belongs to contract ${bound?.address} on chain ${bound?.chainId}, not to ${address} on chain ${chainId}; use another database (or --rebind, while it holds no task)`;
    throw new ComputeError("STORE_BOUND_ELSEWHERE", message);
  }

  async secret(name: string): Promise<Uint8Array> {
    const id = `secret/${name}`;
    const read = () => this.#connection.trip(({ meta }) => meta.findOne({ _id: id }));
    let found = await read();
    if (!found) {
      const bytes = new mongoose.mongo.Binary(randomBytes(SECRET_BYTES));
      await this.#connection.trip(({ meta }) => insertOnce(meta, id, { bytes }));
      found = await read();
    }
    return Uint8Array.from(found!.bytes!.value());
  }
}

/** Inserts a document unless its id is taken; the first insert wins. */
async function insertOnce<Document extends { readonly _id: string }>(
  collection: mongoose.mongo.Collection<Document>,
  id: string,
  document: Omit<Document, "_id">,
): Promise<void> {
  try {
    await collection.insertOne({
      _id: id,
      ...document,
    } as unknown as mongoose.mongo.OptionalUnlessRequiredId<Document>);
  } catch (error) {
    if (!isDuplicateKey(error)) throw error;
  }
}
