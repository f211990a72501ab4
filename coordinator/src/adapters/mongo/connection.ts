import mongoose from "mongoose";
import type { Logger } from "pino";
import { ComputeError } from "../../domain/errors.ts";
import { hostsOf, storeError } from "./errors.ts";
import { checkIndexes } from "./index-check.ts";
import { type Collections, collectionsOf, defineModels } from "./models.ts";

/** Which MongoDB, and how long to wait for it. */
export interface MongoConnectionInit {
  /** Never logged: it may hold a password. */
  readonly uri: string;
  /** Default: the URI's, else `proof_of_compute`. */
  readonly database?: string;
  /** Connections to each server at most. Default 20. */
  readonly maxPoolSize?: number;
  /** How long a call waits for a primary before it is refused. Default 5,000. */
  readonly serverSelectionTimeoutMs?: number;
}

interface Opened {
  readonly connection: mongoose.Connection;
  readonly collections: Collections;
}

/** One connection pool to one database, for everything that a coordinator keeps there. */
export class MongoConnection {
  /** Where it is, as people may read it. */
  readonly hosts: string;
  readonly #logger: Logger;
  readonly #init: MongoConnectionInit;
  #opening: Promise<Opened> | undefined;
  #opened: Opened | undefined;

  constructor({ logger }: { logger: Logger }, init: MongoConnectionInit) {
    this.#logger = logger;
    this.#init = init;
    this.hosts = hostsOf(init.uri);
  }

  /**
   * Connects and builds missing indexes. Safe to repeat. Rejects with UNAVAILABLE when there is no MongoDB, or one that
   * cannot be used; afterwards the driver reconnects by itself, as often as it must.
   */
  async start(): Promise<void> {
    this.#opening ??= this.#open();
    try {
      this.#opened = await this.#opening;
    } catch (error) {
      this.#opening = undefined;
      throw storeError(error, this.hosts);
    }
  }

  /** Safe to repeat. */
  async stop(): Promise<void> {
    const opened = this.#opened;
    this.#opening = undefined;
    this.#opened = undefined;
    await opened?.connection.close();
  }

  /**
   * A round trip to the database: every command of the adapter goes through here. Rejects with UNAVAILABLE when MongoDB is
   * away or the connection not started; then the command had its effect wholly or not at all.
   */
  async trip<T>(run: (collections: Collections) => Promise<T>): Promise<T> {
    const { collections } = this.#required();
    try {
      return await run(collections);
    } catch (error) {
      throw storeError(error, this.hosts);
    }
  }

  /**
   * Round trips of which each sees what those before saw the consequences of: in a causally consistent session a primary
   * that was deposed, and does not know it yet, cannot answer with what was before.
   */
  async inSession<T>(run: (session: mongoose.mongo.ClientSession) => Promise<T>): Promise<T> {
    const { connection } = this.#required();
    return connection.getClient().withSession({ causalConsistency: true }, run);
  }

  #required(): Opened {
    if (!this.#opened) throw new ComputeError("UNAVAILABLE", "the store is not open");
    return this.#opened;
  }

  async #open(): Promise<Opened> {
    const { uri, database, maxPoolSize = 20, serverSelectionTimeoutMs = 5_000 } = this.#init;
    const connection = mongoose.createConnection();
    // The driver tells of each lost server; the calls that suffer say so themselves.
    connection.on("error", () => undefined);
    try {
      await connection.openUri(uri, {
        dbName: database ?? databaseOf(uri) ?? "proof_of_compute",
        appName: "proof-of-compute",
        autoCreate: false,
        autoIndex: false,
        bufferCommands: false,
        maxPoolSize,
        serverSelectionTimeoutMS: serverSelectionTimeoutMs,
        connectTimeoutMS: serverSelectionTimeoutMs,
        socketTimeoutMS: 10_000,
        waitQueueTimeoutMS: 10_000,
        heartbeatFrequencyMS: 5_000,
        retryWrites: true,
        retryReads: true,
        writeConcern: { w: "majority", wtimeoutMS: 10_000 },
        readConcern: { level: "majority" },
        readPreference: "primary",
        // Units are 64-bit integers; a JavaScript number would round them.
        useBigInt64: true,
      });
      const models = defineModels(connection);
      await this.#requireReplicas(connection);
      await checkIndexes(models, this.#logger);
      this.#logger.info({ hosts: this.hosts, database: connection.name }, "connected to MongoDB");
      return { connection, collections: collectionsOf(models, connection) };
    } catch (error) {
      await connection.close().catch(() => undefined);
      throw error;
    }
  }

  /** A server by itself knows no retryable writes, on which "wholly or not at all" rests. */
  async #requireReplicas(connection: mongoose.Connection): Promise<void> {
    const hello = await connection.db!.command({ hello: 1 });
    if (hello.setName !== undefined || hello.msg === "isdbgrid") return;
    const message = `MongoDB at ${this.hosts} is no replica set; start it with --replSet (one member will do)`;
    throw new ComputeError("UNAVAILABLE", message);
  }
}

/** The database that a connection string names. */
function databaseOf(uri: string): string | undefined {
  return /^mongodb(?:\+srv)?:\/\/[^/?]+\/([^?]+)/.exec(uri)?.[1];
}
