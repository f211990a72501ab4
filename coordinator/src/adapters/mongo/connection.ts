import { setTimeout as sleep } from "node:timers/promises";
import mongoose from "mongoose";
import type { Logger } from "pino";
import { ComputeError } from "../../domain/errors.ts";
import { startDeadline, watchHeartbeats } from "./deadline.ts";
import { hostsOf, storeError } from "./errors.ts";
import { checkIndexes } from "./index-check.ts";
import { type Collections, collectionsOf, defineModels } from "./models.ts";

/** The MongoDB to connect to, and time-outs. */
export interface MongoConnectionInit {
  /** Never logged: it may contain a password. */
  readonly uri: string;
  /** Default: the database of the URI, else `proof_of_compute`. */
  readonly database?: string;
  /** The most connections to each server. Default 20. */
  readonly maxPoolSize?: number;
  /** How long a call waits for a primary, in milliseconds. Default 5,000. */
  readonly serverSelectionTimeoutMs?: number;
  /** Milliseconds after which a call counts as hung in the driver, and the client is replaced. Default 20,000. */
  readonly deadlineMs?: number;
}

/** Pause between two attempts to reconnect, in milliseconds. */
const RECONNECT_MS = 1_000;

interface Opened {
  readonly connection: mongoose.Connection;
  readonly models: ReturnType<typeof defineModels>;
  readonly collections: Collections;
}

/** A coordinator's connection pool to its database. */
export class MongoConnection {
  /** The hosts, for people; without credentials. */
  readonly hosts: string;
  readonly #logger: Logger;
  readonly #init: MongoConnectionInit;
  #opening: Promise<Opened> | undefined;
  #opened: Opened | undefined;
  #replacing: Promise<void> | undefined;

  constructor({ logger }: { logger: Logger }, init: MongoConnectionInit) {
    this.#logger = logger;
    this.#init = init;
    this.hosts = hostsOf(init.uri);
  }

  /**
   * Connects and builds missing indexes. Safe to repeat. Rejects with UNAVAILABLE when there is no MongoDB, or an
   * unsuitable one; later the driver reconnects as often as necessary.
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
    await this.#replacing;
    // Do not wait for hung calls.
    await opened?.connection.close(true);
  }

  /**
   * Makes a round trip; every command of the adapter passes here. Rejects with UNAVAILABLE when MongoDB is unavailable or
   * the connection is not started. The command has then happened as a whole or not at all.
   */
  async trip<T>(run: (collections: Collections) => Promise<T>): Promise<T> {
    const opened = this.#required();
    let inTime = () => {};
    const late = new Promise<never>((_, reject) => {
      inTime = startDeadline(() => {
        reject(new ComputeError("UNAVAILABLE", `MongoDB does not answer at ${this.hosts} (from MONGODB_URI)`));
        this.#replace(opened, "a call to MongoDB hangs");
      }, this.#init.deadlineMs);
    });
    try {
      return await Promise.race([run(opened.collections), late]);
    } catch (error) {
      throw storeError(error, this.hosts);
    } finally {
      inTime();
    }
  }

  /**
   * Makes round trips in a causally consistent session, so that a deposed primary that still believes in its role cannot
   * answer with older data than an earlier trip saw.
   */
  async inSession<T>(run: (session: mongoose.mongo.ClientSession) => Promise<T>): Promise<T> {
    const { connection } = this.#required();
    return connection.getClient().withSession({ causalConsistency: true }, run);
  }

  #required(): Opened {
    if (!this.#opened) throw new ComputeError("UNAVAILABLE", "the store is not open");
    return this.#opened;
  }

  /** Reconnects, as often as necessary, and closes the hung client, which ends its calls. */
  #replace(hung: Opened, why: string): void {
    if (this.#opened !== hung || this.#replacing) return;
    this.#logger.warn({ why }, "reconnecting to MongoDB");
    this.#replacing = (async () => {
      while (this.#opened === hung) {
        const next = await this.#connect().catch(() => sleep(RECONNECT_MS));
        if (!next) continue;
        if (this.#opened === hung) this.#opened = next;
        else await next.connection.close(true);
      }
      await hung.connection.close(true);
      this.#logger.info("reconnected to MongoDB");
    })()
      .catch((error: unknown) => this.#logger.warn({ err: error }, "the old connection to MongoDB was not closed"))
      .finally(() => {
        this.#replacing = undefined;
      });
  }

  async #open(): Promise<Opened> {
    const opened = await this.#connect();
    try {
      await this.#requireReplicas(opened.connection);
      await checkIndexes(opened.models, this.#logger);
    } catch (error) {
      await opened.connection.close().catch(() => undefined);
      throw error;
    }
    this.#logger.info({ hosts: this.hosts, database: opened.connection.name }, "connected to MongoDB");
    return opened;
  }

  async #connect(): Promise<Opened> {
    const { uri, database, maxPoolSize = 20, serverSelectionTimeoutMs = 5_000 } = this.#init;
    const connection = mongoose.createConnection();
    // The driver reports each lost server, but the failing calls report it anyway.
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
        // Units are 64-bit integers, which a JavaScript number would round.
        useBigInt64: true,
      });
      const models = defineModels(connection);
      const opened = { connection, models, collections: collectionsOf(models, connection) };
      watchHeartbeats(
        connection.getClient(),
        () => this.#replace(opened, "a look at MongoDB hangs"),
        this.#init.deadlineMs,
      );
      return opened;
    } catch (error) {
      await connection.close().catch(() => undefined);
      throw error;
    }
  }

  /** A standalone server has no retryable writes, on which "as a whole or not at all" depends. */
  async #requireReplicas(connection: mongoose.Connection): Promise<void> {
    const hello = await connection.db!.command({ hello: 1 });
    if (hello.setName !== undefined || hello.msg === "isdbgrid") return;
    const message = `MongoDB at ${this.hosts} is no replica set; start it with --replSet (one member will do)`;
    throw new ComputeError("UNAVAILABLE", message);
  }
}

/** The database in a connection string. */
function databaseOf(uri: string): string | undefined {
  return /^mongodb(?:\+srv)?:\/\/[^/?]+\/([^?]+)/.exec(uri)?.[1];
}
