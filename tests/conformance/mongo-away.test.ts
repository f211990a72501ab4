import { once } from "node:events";
import { createServer } from "node:net";
import { Writable } from "node:stream";
import { MongoConnection } from "@proof-of-compute/coordinator/adapters/mongo/connection";
import { MongoStore } from "@proof-of-compute/coordinator/adapters/mongo/store";
import { type Logger, pino } from "pino";
import { afterAll, describe, expect, onTestFinished, test, vi } from "vitest";
import { Link } from "../support/link.ts";
import { startMongo } from "../support/mongo.ts";
import { assigned, aTask, aVerifiedTask, hexOf } from "./fixtures.ts";

const silent = pino({ level: "silent" });
const WAIT = { timeout: 60_000, interval: 100 };
const AWAY = { code: "UNAVAILABLE" };
const server = await startMongo({ durable: true });

afterAll(() => server.stop());

function connectionTo(uri: string, logger: Logger = silent): MongoConnection {
  const connection = new MongoConnection({ logger }, { uri, serverSelectionTimeoutMs: 1_000 });
  onTestFinished(() => connection.stop());
  return connection;
}

function storeOn(uri: string): MongoStore {
  const store = new MongoStore({ connection: connectionTo(uri), logger: silent });
  onTestFinished(() => store.stop());
  return store;
}

async function unusedPort(): Promise<number> {
  const listener = createServer().listen(0, "127.0.0.1");
  await once(listener, "listening");
  const { port } = listener.address() as { port: number };
  listener.close();
  await once(listener, "close");
  return port;
}

describe("a MongoDB that cannot be used", () => {
  test("is named without its password when it does not answer", async () => {
    const port = await unusedPort();
    const store = storeOn(`mongodb://user:geheim@127.0.0.1:${port}/poc?replicaSet=rs0`);
    const error = await store.start().catch((reason: unknown) => reason);
    expect(error).toMatchObject({ ...AWAY, message: expect.stringContaining(`127.0.0.1:${port} (from MONGODB_URI)`) });
    expect(String(error)).not.toContain("geheim");
    await expect(store.insertTask(aTask(1))).rejects.toMatchObject(AWAY);
  });

  test.each(["mongodb://", "mongodb://user:geheim@", "mongodb://host:port/", "mongodb://user:geh%eim@host"])(
    "is refused when %s is no connection string",
    async (uri) => {
      const error = await storeOn(uri)
        .start()
        .catch((reason: unknown) => reason);
      expect(error).toMatchObject(AWAY);
      expect(JSON.stringify([String(error), (error as Error).cause])).not.toMatch(/geh/);
    },
  );

  test("can be started again until MongoDB answers", async () => {
    const link = await Link.to(`127.0.0.1:${server.port}`);
    onTestFinished(() => link.stop());
    link.cut();
    const store = storeOn(server.uri(undefined, Number(link.address.split(":")[1])));
    await expect(store.start()).rejects.toMatchObject(AWAY);
    link.mend();
    await store.start();
    expect((await store.insertTask(aTask(1))).created).toBe(true);
  });
});

describe(`${server.description} that becomes unavailable and comes back`, () => {
  test("refuses writes meanwhile, and keeps acknowledged ones", async ({ skip }) => {
    skip(!server.restartable, "the MongoDB of MONGODB_URI is not ours to kill");
    const store = storeOn(server.uri());
    await store.start();
    const { queued, running, receipt, verified } = aVerifiedTask(1);
    await store.insertTask(queued);
    await store.saveTask(running);
    await server.kill();
    const calls = [store.saveTask(verified, { receipt }), store.insertTask(aTask(2)), store.task(queued.id)];
    for (const outcome of await Promise.allSettled(calls)) {
      expect(outcome).toMatchObject({ status: "rejected", reason: AWAY });
    }
    await server.start();
    await vi.waitFor(() => store.task(queued.id), WAIT);
    expect(await store.task(queued.id)).toEqual(running);
    expect(await store.saveTask(verified, { receipt })).toBe(true);
    expect(await store.unbatchedReceipts(9)).toEqual([receipt]);
  });

  test("reports the right outcome when connections break during writes", async () => {
    const link = await Link.to(`127.0.0.1:${server.port}`);
    onTestFinished(() => link.stop());
    const store = storeOn(server.uri(undefined, Number(link.address.split(":")[1])));
    await store.start();
    const tasks = Array.from({ length: 200 }, (_, n) => aTask(n));
    await Promise.all(tasks.map((task) => store.insertTask(task)));
    const saving = tasks.map((task, n) => store.saveTask(assigned(task, hexOf(1_000 + n))));
    link.cut();
    link.mend();
    const outcomes = await Promise.allSettled(saving);
    await vi.waitFor(() => store.totals(), WAIT);
    for (const [n, outcome] of outcomes.entries()) {
      const { version } = (await store.task(tasks[n]!.id))!;
      // A refused write happened as a whole or not at all. There are no other writers, so no write may lose a race.
      if (outcome.status === "fulfilled") expect([outcome.value, version]).toEqual([true, 2]);
      else expect(outcome.reason).toMatchObject(AWAY);
    }
  });
});

test("gives up a call that hangs in the driver, and replaces the client", async () => {
  const link = await Link.to(`127.0.0.1:${server.port}`);
  onTestFinished(() => link.stop());
  const lines: string[] = [];
  const sink = new Writable({ write: (line, _, done) => done(void lines.push(JSON.parse(`${line}`).msg)) });
  const connection = new MongoConnection(
    { logger: pino({ level: "info" }, sink) },
    // Longer than the driver's socket time-out, which has no effect here.
    { uri: server.uri(undefined, Number(link.address.split(":")[1])), deadlineMs: 12_000 },
  );
  onTestFinished(() => connection.stop());
  await connection.start();
  const large = { _id: "0x01", bytes: Buffer.alloc(8_000_000) } as never;
  link.pass({ up: "shut", down: "shut" });
  await expect(connection.trip(({ blobs }) => blobs.insertOne(large))).rejects.toMatchObject(AWAY);
  link.pass({});
  await vi.waitFor(() => expect(lines).toContain("reconnected to MongoDB"), WAIT);
  await connection.trip(({ blobs }) => blobs.insertOne({ _id: "0x02" } as never));
  expect(lines).toEqual(["connected to MongoDB", "reconnecting to MongoDB", "reconnected to MongoDB"]);
});

describe("indexes", () => {
  test("are built if they are missing or differ, and logged by name", async () => {
    const uri = server.uri();
    await Promise.all([1, 2, 3].map(() => connectionTo(uri).start()));
    const collections = connectionTo(uri);
    await collections.start();
    await collections.trip(async ({ tasks }) => {
      await tasks.dropIndex("by_age");
      await tasks.dropIndex("queued");
      await tasks.createIndex({ requester: 1 }, { name: "queued" });
      await tasks.createIndex({ kind: 1 }, { name: "somebody_elses" });
    });
    const lines: string[] = [];
    const sink = new Writable({ write: (line, _, done) => done(void lines.push(`${line}`)) });
    await connectionTo(uri, pino({ level: "warn" }, sink)).start();
    const reports = lines.map((line) => JSON.parse(line)).map(({ collection, index, msg }) => [collection, index, msg]);
    expect(reports).toEqual([
      ["tasks", "by_age", "building a missing index"],
      ["tasks", "queued", "rebuilding an index with another definition"],
      ["tasks", "somebody_elses", "leaving an unknown index"],
    ]);
    lines.length = 0;
    await connectionTo(uri, pino({ level: "warn" }, sink)).start();
    expect(lines.map((line) => JSON.parse(line).index)).toEqual(["somebody_elses"]);
  });
});
