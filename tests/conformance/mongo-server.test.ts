import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readdir, rm } from "node:fs/promises";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { mongo } from "mongoose";
import { afterEach, beforeAll, beforeEach, describe, expect, it, vi } from "vitest";
import { MongoMissing, type MongoServer, startMongo } from "../support/mongo.ts";

const WAIT = { timeout: 30_000, interval: 50 };
const WRITERS = 8;

interface Counter {
  readonly _id: string;
  readonly n: number;
}

let missing: string | undefined;
/** Closes what the test opened, in reverse order. */
let open: (() => Promise<unknown>)[] = [];

async function start(durable = false): Promise<MongoServer> {
  const server = await startMongo({ durable });
  open.push(() => server.stop());
  return server;
}

async function connected(uri: string): Promise<mongo.MongoClient> {
  const client = new mongo.MongoClient(uri, { writeConcern: { w: "majority" } });
  open.push(() => client.close());
  return client.connect();
}

async function counters(uri: string): Promise<mongo.Collection<Counter>> {
  return (await connected(uri)).db().collection<Counter>("counters");
}

/** A write as the driver sends it; a retry after a lost answer has the same number. */
async function increment(db: mongo.Db, session: mongo.ClientSession, attempt: number): Promise<mongo.Document> {
  const updates = [{ q: { _id: "once" }, u: { $inc: { n: 1 } }, upsert: true }];
  const txnNumber = mongo.Long.fromNumber(attempt);
  return db.command({ update: "counters", updates, txnNumber }, { session });
}

function accepts(port: number): Promise<boolean> {
  const socket = connect(port, "127.0.0.1");
  return new Promise((resolve) => {
    socket.once("connect", () => resolve(true)).once("error", () => resolve(false));
  }).finally(() => socket.destroy()) as Promise<boolean>;
}

/** Node running `code`, which may import from tests/support by `support`; resolves with it and its first output. */
async function nodeRunning(code: string): Promise<[child: ChildProcess, output: string]> {
  const support = JSON.stringify(new URL("../support/", import.meta.url).href);
  const args = ["--input-type=module", "-e", `const support = ${support};\n${code}`];
  // Its folder is deleted with everything that it leaves when it is killed.
  const TMPDIR = await mkdtemp(join(tmpdir(), "proof-of-compute-parent-"));
  open.push(() => rm(TMPDIR, { recursive: true }));
  const env = { ...process.env, TMPDIR };
  const child = spawn(process.execPath, args, { env, stdio: ["ignore", "pipe", "inherit"] });
  open.push(async () => child.kill("SIGKILL"));
  const ended = once(child, "exit").then(([code]) => Promise.reject(new Error(`ended with exit code ${code}`)));
  const [output] = (await Promise.race([once(child.stdout, "data"), ended])) as [Buffer];
  ended.catch(() => undefined);
  return [child, output.toString().trim()];
}

beforeAll(async () => {
  try {
    const server = await startMongo();
    console.log(`    ${server.description}`);
    await server.stop();
  } catch (error) {
    if (process.env.CI || !(error instanceof MongoMissing)) throw error;
    missing = error.message;
    console.warn(missing);
  }
});

beforeEach((context) => {
  context.skip(missing !== undefined, missing);
});

afterEach(async () => {
  for (const close of open.reverse()) await close();
  open = [];
});

describe("the MongoDB of the tests", () => {
  it("gives each caller its own database", async () => {
    const server = await start();
    const [one, other] = [await counters(server.uri()), await counters(server.uri())];
    await one.insertOne({ _id: "a", n: 1 });
    expect(await one.countDocuments()).toBe(1);
    expect(await other.countDocuments()).toBe(0);
  });

  it("loses no acknowledged write by kill -9, and applies none twice", async () => {
    const server = await start(true);
    if (!server.restartable) return expect(server.kill()).rejects.toThrow("not ours");
    const counter = await counters(server.uri());
    await counter.insertOne({ _id: "all", n: 0 });
    const acknowledged: string[] = [];
    let inDoubt = 0;
    let going = true;
    const writers = Array.from({ length: WRITERS }, async (_, writer) => {
      for (let i = 0; going; i++) {
        const _id = `${writer}/${i}`;
        try {
          await counter.insertOne({ _id, n: i });
          acknowledged.push(_id);
          await counter.updateOne({ _id: "all" }, { $inc: { n: 1 } });
        } catch (error) {
          // The driver retries only once.
          if (!(error instanceof mongo.MongoNetworkError)) throw error;
          inDoubt++;
        }
      }
    });
    const writing = Promise.all(writers);
    for (const target of [50, 150]) {
      await Promise.race([writing, vi.waitFor(() => expect(acknowledged.length).toBeGreaterThan(target), WAIT)]);
      await server.kill();
      await server.start();
    }
    going = false;
    await writing;
    const kept = await counter.find({ _id: { $in: acknowledged } }).toArray();
    expect(kept).toHaveLength(acknowledged.length);
    const all = (await counter.findOne({ _id: "all" }))?.n ?? 0;
    expect(all).toBeLessThanOrEqual(acknowledged.length);
    expect(all).toBeGreaterThanOrEqual(acknowledged.length - inDoubt);
  });

  it("answers a retried write without repeating it, also after kill -9", async () => {
    const server = await start(true);
    const client = await connected(server.uri());
    const db = client.db();
    const counter = db.collection<Counter>("counters");
    const session = client.startSession();
    open.push(() => session.endSession());
    const first = await increment(db, session, 1);
    const again = await increment(db, session, 1);
    expect([again.n, again.upserted]).toEqual([first.n, first.upserted]);
    if (server.restartable) {
      await server.kill();
      await server.start();
      await increment(db, session, 1);
    }
    expect((await counter.findOne({ _id: "once" }))?.n).toBe(1);
    await increment(db, session, 2);
    expect((await counter.findOne({ _id: "once" }))?.n).toBe(2);
  });

  it("answers nothing while it is paused", async () => {
    const server = await start();
    if (!server.restartable) return expect(() => server.pause()).toThrow("not ours");
    const counter = await counters(server.uri());
    await counter.insertOne({ _id: "a", n: 0 });
    server.pause();
    let answered = false;
    const write = counter.updateOne({ _id: "a" }, { $inc: { n: 1 } }).then(() => {
      answered = true;
    });
    // A round trip to another server shows that there was enough time for an answer.
    await start();
    expect(answered).toBe(false);
    server.resume();
    await write;
    expect((await counter.findOne({ _id: "a" }))?.n).toBe(1);
  });

  it.each(["running", "paused"])("ends with the process that started it when that is killed (%s)", async (state) => {
    const [parent, port] = await nodeRunning(`
      const { startMongo } = await import(support + "mongo.ts");
      const server = await startMongo();
      if (server.restartable && ${state === "paused"}) server.pause();
      console.log(server.restartable ? server.port : 0);
      setInterval(() => undefined, 1_000);
    `);
    if (port === "0") return;
    expect(await accepts(Number(port))).toBe(true);
    parent.kill("SIGKILL");
    await vi.waitFor(async () => expect(await accepts(Number(port))).toBe(false), WAIT);
  });
});

describe("the stand-in", () => {
  it("is built once for two concurrent callers", async () => {
    const cache = await mkdtemp(join(tmpdir(), "proof-of-compute-build-"));
    open.push(() => rm(cache, { recursive: true }));
    const code = `
      const { standInClassPath, MongoMissing } = await import(support + "mongo-stand-in/build.ts");
      const path = standInClassPath(${JSON.stringify(cache)});
      console.log(await path.catch((error) => error instanceof MongoMissing ? "none" : Promise.reject(error)));
    `;
    const [[, one], [, other]] = await Promise.all([nodeRunning(code), nodeRunning(code)]);
    expect(one).toBe(other);
    // A machine with a MongoDB may have no Java.
    if (one !== "none") expect(await readdir(cache)).toHaveLength(1);
  });
});
