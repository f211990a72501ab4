import { randomBytes } from "node:crypto";
import { appendFileSync } from "node:fs";
import { mkdtemp } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { mongo } from "mongoose";
import type { TestContext } from "vitest";
import { MongoProcess } from "./mongo-process.ts";
import { MongoMissing, standInClassPath } from "./mongo-stand-in/build.ts";
import { findMongod } from "./mongod.ts";
import { freePort } from "./process.ts";

export { MongoMissing };

/**
 * Which MongoDB the tests run against, in this order: the one of `MONGODB_URI`; a mongod on the PATH or in `MONGOD_PATH`;
 * one that mongodb-memory-server once downloaded; the stand-in of `mongo-stand-in/`.
 */
export type MongoKind = "uri" | "mongod" | "memory-server" | "stand-in";

/** A MongoDB for tests. Several files may use the one of `MONGODB_URI` at once: each has its own databases. */
export interface MongoServer {
  readonly kind: MongoKind;
  /** Name and version; says if it is a stand-in. */
  readonly description: string;
  /** Whether tests may kill, pause and restart it; not the one of `MONGODB_URI`. */
  readonly restartable: boolean;
  /**
   * The URI of a database; without a name, of a new one. With `viaPort`, the port of a loopback proxy, the driver uses
   * only the proxy.
   */
  uri(database?: string, viaPort?: number): string;
  /** The port to which such a proxy forwards. */
  readonly port: number;
  /** kill -9. */
  kill(): Promise<void>;
  /** Restarts it on the same port, and on the same data if it is durable. */
  start(): Promise<void>;
  /** SIGSTOP. */
  pause(): void;
  /** SIGCONT. */
  resume(): void;
  /** Stops it and deletes its data; of the one of `MONGODB_URI`, only databases without a given name. */
  stop(): Promise<void>;
}

export interface MongoOptions {
  /** Whether an acknowledged write must survive kill -9; otherwise data may be in memory. */
  readonly durable?: boolean;
}

/** What the tests cannot try on one server. */
const UNTRIED = "failover, majority rollback, sharding";

let shared: Promise<MongoServer> | undefined;

/** The shared server of this process, which ends with it. Do not stop it while others use it. */
export function sharedMongo(): Promise<MongoServer> {
  shared ??= startMongo();
  return shared;
}

/** A MongoDB for one test. The test skips itself, with the reason, on a machine without one. */
export async function mongoOrSkip(context: Pick<TestContext, "skip">): Promise<MongoServer>;
export async function mongoOrSkip<T>(context: Pick<TestContext, "skip">, made: Promise<T>): Promise<T>;
export async function mongoOrSkip({ skip }: Pick<TestContext, "skip">, made: Promise<unknown> = sharedMongo()) {
  try {
    return await made;
  } catch (error) {
    if (error instanceof MongoMissing) skip(error.message);
    throw error;
  }
}

/** Starts a separate server, or uses the one of `MONGODB_URI`. Rejects with MongoMissing on a machine without one. */
export async function startMongo(options: MongoOptions = {}): Promise<MongoServer> {
  const uri = process.env.MONGODB_URI;
  const server = uri ? new TestMongo("uri", uri) : await ownServer(options).catch(noteMissing);
  try {
    await server.start();
  } catch (error) {
    await server.stop();
    throw error;
  }
  note(`${server.description}; not exercised: ${server.restartable ? UNTRIED : "kill -9 and pauses of the server"}`);
  return server;
}

function noteMissing(error: unknown): never {
  if (error instanceof MongoMissing) note("none on this machine; not exercised: everything that stores in MongoDB");
  throw error;
}

async function ownServer({ durable = false }: MongoOptions): Promise<TestMongo> {
  const found = findMongod();
  const classPath = found ? undefined : await standInClassPath();
  const folder = await mkdtemp(join(tmpdir(), "proof-of-compute-mongo-"));
  const port = await freePort();
  const uri = `mongodb://127.0.0.1:${port}/?replicaSet=rs0`;
  if (found) {
    const place = ["--dbpath", folder, "--bind_ip", "127.0.0.1", "--port", `${port}`];
    const command = [found.path, ...place, "--replSet", "rs0", "--wiredTigerCacheSizeGB", "0.25"];
    return new TestMongo(found.kind, uri, new MongoProcess(command, folder));
  }
  const java = ["java", "-Xmx512m", "-XX:+UseSerialGC", "-cp", classPath!, "StandIn", `${port}`];
  const command = durable ? [...java, join(folder, "data")] : java;
  return new TestMongo("stand-in", uri, new MongoProcess(command, folder));
}

class TestMongo implements MongoServer {
  readonly #kind: MongoKind;
  readonly #uri: string;
  readonly #process: MongoProcess | undefined;
  readonly #databases = new Set<string>();
  #description = "";

  constructor(kind: MongoKind, uri: string, process_?: MongoProcess) {
    this.#kind = kind;
    this.#uri = uri;
    this.#process = process_;
  }

  get kind(): MongoKind {
    return this.#kind;
  }

  get description(): string {
    return this.#description;
  }

  get restartable(): boolean {
    return this.#process !== undefined;
  }

  get port(): number {
    return Number(new URL(this.#uri).port || 27017);
  }

  uri(database?: string, viaPort?: number): string {
    let name = database;
    if (name === undefined) {
      name = `test_${randomBytes(8).toString("hex")}`;
      this.#databases.add(name);
    }
    const uri = new URL(this.#uri);
    uri.pathname = `/${name}`;
    if (viaPort !== undefined) {
      uri.host = `127.0.0.1:${viaPort}`;
      uri.searchParams.delete("replicaSet");
      uri.searchParams.set("directConnection", "true");
    }
    return uri.href;
  }

  async kill(): Promise<void> {
    await this.#own().kill();
  }

  async start(): Promise<void> {
    await this.#process?.start();
    if (this.#kind === "mongod" || this.#kind === "memory-server") await initiate(this.port);
    this.#description = await describe(this.#kind, this.#uri);
  }

  pause(): void {
    this.#own().signal("SIGSTOP");
  }

  resume(): void {
    this.#own().signal("SIGCONT");
  }

  async stop(): Promise<void> {
    if (this.#process) return this.#process.stop();
    await connected(this.#uri, async (client) => {
      for (const name of this.#databases) await client.db(name).dropDatabase();
    });
    this.#databases.clear();
  }

  #own(): MongoProcess {
    if (!this.#process) throw new Error("the MongoDB of MONGODB_URI is not ours to stop");
    return this.#process;
  }
}

const ALREADY_INITIALIZED = 23;

/** Makes a mongod a replica set of one, unless it is one, and waits until it accepts writes. */
async function initiate(port: number): Promise<void> {
  const address = `127.0.0.1:${port}`;
  await connected(`mongodb://${address}/?directConnection=true`, async (client) => {
    const members = [{ _id: 0, host: address }];
    try {
      await client.db("admin").command({ replSetInitiate: { _id: "rs0", members } });
    } catch (error) {
      if ((error as mongo.MongoServerError).code !== ALREADY_INITIALIZED) throw error;
    }
  });
  await connected(`mongodb://${address}/?replicaSet=rs0`, (client) => client.db("admin").command({ ping: 1 }));
}

async function describe(kind: MongoKind, uri: string): Promise<string> {
  return connected(uri, async (client) => {
    const info = await client.db("admin").command({ buildInfo: 1 });
    if (info.standIn) return `${info.standIn} (stand-in for MongoDB ${info.version})`;
    return `MongoDB ${info.version} (${kind === "uri" ? "MONGODB_URI" : `${kind}, a replica set of one`})`;
  });
}

async function connected<T>(uri: string, use: (client: mongo.MongoClient) => Promise<T>): Promise<T> {
  const client = new mongo.MongoClient(uri, { serverSelectionTimeoutMS: 30_000 });
  try {
    await client.connect();
    return await use(client);
  } finally {
    await client.close();
  }
}

/** Notes the MongoDB, and what it cannot do, for the report of `npm test`. */
function note(text: string): void {
  if (process.env.TEST_MONGODB_NOTES) appendFileSync(process.env.TEST_MONGODB_NOTES, `${text}\n`);
}
