import { spawn } from "node:child_process";
import { once } from "node:events";
import { chmod, mkdtemp, readdir, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { createInterface } from "node:readline";
import { DatabaseSync } from "node:sqlite";
import fc from "fast-check";
import { pino } from "pino";
import { afterEach, beforeEach, expect, test } from "vitest";
import { SqliteStore } from "../../coordinator/src/adapters/sqlite/store.ts";
import { aTask, aVerifiedTask } from "./fixtures.ts";
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

/** Starts a process that writes to the store, kills it with SIGKILL after `lines` lines, and returns what it said. */
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

test("has every row that it acknowledged after its process was killed", async () => {
  const path = await newPath();
  const acknowledged: number[] = [];
  // 1 is "open", so kills fall from right after the start to well past several checkpoints of the log.
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

test("belongs to one process at a time, and to the next once that is dead", async () => {
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

test("refuses a second opening within one process, which does not loosen the first one's lock", async () => {
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

test("leaves the mode of a folder that was there to its owner", async () => {
  const path = join(await mkdtemp(join(root, "mine-")), "store.db");
  await chmod(dirname(path), 0o750);
  await open(path);
  expect((await stat(dirname(path))).mode & 0o777).toBe(0o750);
});

test("refuses what a newer version wrote", async () => {
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

test("says which file cannot be opened, and why", async () => {
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
