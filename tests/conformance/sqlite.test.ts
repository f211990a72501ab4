import { spawn } from "node:child_process";
import { once } from "node:events";
import { chmod, mkdir, mkdtemp, readdir, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { createInterface } from "node:readline";
import { DatabaseSync } from "node:sqlite";
import { MIGRATIONS } from "@proof-of-compute/coordinator/adapters/sqlite/schema";
import { SqliteStore } from "@proof-of-compute/coordinator/adapters/sqlite/store";
import { cancel, type Task, takeOver } from "@proof-of-compute/coordinator/domain/task";
import fc from "fast-check";
import { pino } from "pino";
import { afterEach, beforeEach, expect, test } from "vitest";
import { aNode, assigned, aTask, aVerifiedTask, BOB, HERE, hexOf } from "./fixtures.ts";
import { describeStore } from "./store.ts";

const writer = join(import.meta.dirname, "sqlite-writer.ts");
const logger = pino({ level: "silent" });
let root: string;
const opened: SqliteStore[] = [];

beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), "sqlite-"));
});
afterEach(async () => {
  for (const store of opened.splice(0)) await store.stop();
  await rm(root, { recursive: true });
});

const newPath = async () => join(await mkdtemp(join(root, "test-")), "data", "store.db");

async function open(path: string): Promise<SqliteStore> {
  const store = new SqliteStore({ logger }, { path });
  opened.push(store);
  await store.start();
  return store;
}

describeStore("SqliteStore", async () => {
  const path = await newPath();
  const store = await open(path);
  const reopen = async () => {
    await store.stop();
    return open(path);
  };
  return { store, reopen };
});

/** Starts a process that writes to the store, kills it with SIGKILL after `lines` lines, and returns its output. */
async function writeAndDie(path: string, first: number, lines: number): Promise<string[]> {
  const child = spawn(process.execPath, [writer, path, `${first}`], { stdio: ["ignore", "pipe", "inherit"] });
  const exited = once(child, "exit");
  const said: string[] = [];
  for await (const line of createInterface({ input: child.stdout })) {
    said.push(line);
    if (said.length === lines) child.kill("SIGKILL");
  }
  expect(await exited).toEqual([null, "SIGKILL"]);
  return said;
}

test("keeps every acknowledged row when its process is killed", async () => {
  const path = await newPath();
  const acknowledged: number[] = [];
  // Line 1 is "open", so kills happen from right after the start to long after several checkpoints of the log.
  const lengths = fc.sample(fc.integer({ min: 1, max: 1_500 }), 6);
  for (const [round, lines] of lengths.entries()) {
    const said = await writeAndDie(path, 100_000 * round, lines);
    acknowledged.push(...said.slice(1).map(Number));
  }
  expect(acknowledged.length).toBeGreaterThanOrEqual(lengths.reduce((sum, lines) => sum + lines - 1, 0));
  const store = await open(path);
  for (const n of acknowledged) {
    const { verified, receipt } = aVerifiedTask(n);
    expect(await store.task(verified.id)).toEqual(verified);
    expect(await store.receipt(receipt.receiptId)).toEqual(receipt);
    expect(await store.output(verified.id)).toEqual(Uint8Array.of(n % 251));
  }
  const { tasks, receipts } = await store.totals();
  expect(tasks.verified).toBe(receipts);
  expect(receipts).toBeGreaterThanOrEqual(acknowledged.length);
});

test("belongs to one process at a time, and to the next once the first is dead", async () => {
  const path = await newPath();
  const holder = spawn(process.execPath, [writer, path, "0"], { stdio: ["ignore", "pipe", "inherit"] });
  const exited = once(holder, "exit");
  await once(holder.stdout, "data");
  const second = new SqliteStore({ logger }, { path });
  await expect(second.start()).rejects.toMatchObject({
    code: "UNAVAILABLE",
    message: `another coordinator uses this data directory: ${dirname(path)}`,
  });
  holder.kill("SIGKILL");
  await exited;
  await open(path);
});

test("refuses to be opened twice in one process, and keeps its lock", async () => {
  const path = await newPath();
  const store = await open(path);
  await expect(new SqliteStore({ logger }, { path }).start()).rejects.toMatchObject({ code: "UNAVAILABLE" });
  const other = spawn(process.execPath, [writer, path, "0"], { stdio: ["ignore", "pipe", "ignore"] });
  expect(await once(other, "exit")).toEqual([1, null]);
  expect((await store.insertTask(aTask(1))).created).toBe(true);
});

test("lets only its owner read", async () => {
  const path = await newPath();
  const store = await open(path);
  await store.insertTask(aTask(1));
  expect((await stat(dirname(path))).mode & 0o777).toBe(0o700);
  for (const name of await readdir(dirname(path))) {
    expect([name, (await stat(join(dirname(path), name))).mode & 0o777]).toEqual([name, 0o600]);
  }
});

test("keeps the mode of an existing folder", async () => {
  const path = join(await mkdtemp(join(root, "mine-")), "store.db");
  await chmod(dirname(path), 0o750);
  await open(path);
  expect((await stat(dirname(path))).mode & 0o777).toBe(0o750);
});

/** Writes a database of the version before owners. */
async function writeWithoutOwners(path: string, tasks: readonly Task[]): Promise<void> {
  await mkdir(dirname(path), { recursive: true });
  const database = new DatabaseSync(path);
  for (const step of MIGRATIONS.slice(0, 3)) database.exec(step);
  database.exec("PRAGMA user_version = 3");
  const blob = (hex: string) => Buffer.from(hex.slice(2), "hex");
  const asText = (value: unknown) => (typeof value === "bigint" ? `${value}` : value);
  const insert = database.prepare("INSERT INTO tasks VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)");
  for (const { id, version, requester, state, createdAt, notBefore, deadline, spec, ...rest } of tasks) {
    const { owner: _, endedAt: __, ...document } = rest;
    const text = JSON.stringify(document, (key, value) => (key === "spec" ? undefined : asText(value)));
    insert.run(blob(id), version, requester, state, createdAt, notBefore, deadline, text, spec);
    for (const { receipt } of Object.values(rest.assignments)) {
      if (!receipt) continue;
      const { units, spec: ___, ...said } = receipt;
      database
        .prepare("INSERT INTO receipts (number, _id, provider, accepted_at, units) VALUES (1, ?, ?, ?, ?)")
        .run(blob(receipt.receiptId), receipt.provider, receipt.acceptedAt, units);
      database.prepare("INSERT INTO receipt_documents VALUES (1, ?)").run(JSON.stringify(said));
    }
  }
  const { hardware, offers } = aNode(1);
  database
    .prepare("INSERT INTO exo_nodes VALUES (?, ?, 'online', 5, 'here', ?, ?, 8, '0.1.0', 1, 250000)")
    .run(blob(aNode(1).id), BOB, JSON.stringify(hardware), JSON.stringify(offers.map(({ kind }) => kind)));
  database.close();
}

test("migrates a database from before owners", async () => {
  const path = await newPath();
  const [queued, running] = [aTask(1), assigned(aTask(2), hexOf(20), 7)];
  const cancelling = cancel(assigned(aTask(3), hexOf(30), 7), 5);
  const { verified, receipt } = aVerifiedTask(4);
  const cancelled = cancel(aTask(5), 6_000);
  await writeWithoutOwners(path, [queued, running, cancelling, verified, cancelled]);
  const store = await open(path);
  const { owner: _, ...unowned } = running;
  const { owner: __, ...unownedToo } = cancelling;
  const live = [unowned, unownedToo].toSorted((a, b) => (a.id < b.id ? -1 : 1));
  expect(await store.orphanedTasks([HERE], 9)).toEqual(live);
  expect(await store.liveTasksOf(hexOf(7, 32))).toEqual(live);
  expect(await store.liveAssignments(HERE)).toEqual([]);
  const taken = takeOver(unowned, HERE);
  expect(await store.saveTask(taken)).toBe(true);
  expect(await store.orphanedTasks([HERE], 9)).toEqual([unownedToo]);
  expect(await store.liveAssignments(HERE)).toEqual([{ taskId: running.id, assignmentId: hexOf(20) }]);

  expect(await store.task(queued.id)).toEqual(queued);
  expect(await store.task(verified.id)).toEqual(verified);
  expect(await store.task(cancelled.id)).toEqual({ ...cancelled, endedAt: cancelled.createdAt });
  expect(await store.pruneTasks(cancelled.createdAt + 1, 9)).toBe(1);
  expect(await store.unbatchedReceipts(9)).toEqual([receipt]);
  expect(await store.totals()).toMatchObject({
    tasks: { queued: 1, running: 1, cancelling: 1, verified: 1, failed: 0, cancelled: 0 },
    receipts: 1,
    unbatched: { count: 1 },
    quarantined: { count: 0 },
  });

  // All slots and one rate for each kind.
  const offers = (["matmul", "wasm"] as const).map((kind) => ({ kind, slots: 8, unitsPerSecond: 250_000 }));
  const node = aNode(1, { lastSeen: 5, owner: { coordinatorId: "here", incarnation: "0x" }, offers });
  expect(await store.node(node.id)).toEqual(node);
  expect(await store.saveNode({ ...node, owner: HERE })).toBe(false);
  expect(await store.releaseNodes([HERE])).toBe(1);
});

test("refuses the database of a newer version", async () => {
  const path = await newPath();
  await (await open(path)).stop();
  const database = new DatabaseSync(path);
  database.exec("PRAGMA user_version = 1000");
  database.close();
  await expect(new SqliteStore({ logger }, { path }).start()).rejects.toMatchObject({
    code: "UNAVAILABLE",
    message: expect.stringContaining("newer version"),
  });
});

test("names the file that cannot be opened, and the reason", async () => {
  const letter = join(root, "letter.txt");
  await writeFile(letter, "Dear aunt, this is a rather long letter, so that SQLite takes a look at it. ".repeat(20));
  const reasons: [path: string, reason: string][] = [
    [letter, "file is not a database"],
    [root, "unable to open database file"],
    [join(letter, "data", "store.db"), "ENOTDIR"],
  ];
  for (const [path, reason] of reasons) {
    await expect(new SqliteStore({ logger }, { path }).start()).rejects.toMatchObject({
      code: "UNAVAILABLE",
      message: expect.stringContaining(`${path} cannot be opened: ${reason}`),
    });
  }
});
