import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { DatabaseSync } from "node:sqlite";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { openDatabase } from "./database.ts";
import { GroupCommit } from "./group-commit.ts";

let folder: string;
let database: DatabaseSync;
let commits: GroupCommit;
const logger = { error: vi.fn() };

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "commit-"));
  database = openDatabase(join(folder, "store.db"));
  database.exec(`
    CREATE TABLE parents (id INTEGER PRIMARY KEY) STRICT;
    CREATE TABLE rows (id INTEGER PRIMARY KEY, data BLOB) STRICT;
    CREATE TABLE children (parent INTEGER REFERENCES parents (id) DEFERRABLE INITIALLY DEFERRED) STRICT;
  `);
  commits = new GroupCommit({ logger, database });
  logger.error.mockClear();
});
afterEach(async () => {
  database.close();
  await rm(folder, { recursive: true });
});

const add = (id: number, length = 0) =>
  commits.write(() => database.prepare("INSERT INTO rows VALUES (?, zeroblob(?))").run(id, length).changes);
const stored = () =>
  database
    .prepare("SELECT id FROM rows ORDER BY id")
    .all()
    .map(({ id }) => id);

test("commits the writes of one turn together, in order, and answers after that", async () => {
  const seen: unknown[] = [];
  const writes = [1, 2, 3].map((id) => add(id).then((changes) => seen.push([id, changes, database.isTransaction])));
  expect(stored()).toEqual([]);
  await Promise.all(writes);
  expect(seen).toEqual([1, 2, 3].map((id) => [id, 1, false]));
  expect(stored()).toEqual([1, 2, 3]);
});

test("takes at most 256 operations into one commit, and lets the event loop turn in between", async () => {
  let turns = 0;
  const committedAt: number[] = [];
  const writes = Array.from({ length: 600 }, (_, id) => add(id).then(() => committedAt.push(turns)));
  const count = () => {
    turns++;
    if (committedAt.length < 600) setImmediate(count);
  };
  setImmediate(count);
  await Promise.all(writes);
  expect([...Map.groupBy(committedAt, (turn) => turn).values()].map((group) => group.length)).toEqual([256, 256, 88]);
});

test("takes back only the operation that throws, with all that it did", async () => {
  const outcomes = await Promise.allSettled([
    add(1),
    commits.write(() => {
      database.exec("INSERT INTO rows VALUES (10, NULL)");
      throw new RangeError("mine");
    }),
    add(1),
    add(2),
  ]);
  expect(outcomes).toMatchObject([
    { status: "fulfilled" },
    { status: "rejected", reason: { message: "mine" } },
    { status: "rejected", reason: { code: "INTERNAL", cause: { errcode: 1555 } } },
    { status: "fulfilled" },
  ]);
  expect(stored()).toEqual([1, 2]);
});

test("rejects all callers of a commit that fails, and has changed nothing", async () => {
  const orphan = commits.write(() => database.exec("INSERT INTO children VALUES (404)"));
  const outcomes = await Promise.allSettled([add(1), orphan, add(2)]);
  for (const outcome of outcomes) {
    expect(outcome).toMatchObject({ status: "rejected", reason: { code: "UNAVAILABLE", cause: { errcode: 787 } } });
  }
  expect(stored()).toEqual([]);
  expect(logger.error).toHaveBeenCalledExactlyOnceWith(expect.objectContaining({ operations: 3 }), "commit failed");
  await add(3);
  expect(stored()).toEqual([3]);
});

test("rejects with UNAVAILABLE while the disk is full, and goes on once there is space", async () => {
  await add(1);
  const { page_count: pages } = database.prepare("PRAGMA page_count").get() as { page_count: number };
  database.exec(`PRAGMA max_page_count = ${pages + 2}`);
  const outcomes = await Promise.allSettled([add(2, 1_000_000), add(3, 1_000_000)]);
  for (const outcome of outcomes) {
    expect(outcome).toMatchObject({ status: "rejected", reason: { code: "UNAVAILABLE", cause: { errcode: 13 } } });
  }
  expect(stored()).toEqual([1]);
  expect(database.isTransaction).toBe(false);
  database.exec("PRAGMA max_page_count = 1000000");
  await Promise.all([add(4, 1_000_000), add(5)]);
  expect(stored()).toEqual([1, 4, 5]);
});

test("answers what waits when it is flushed, once", async () => {
  const write = add(1);
  commits.flush();
  expect(stored()).toEqual([1]);
  commits.flush();
  expect(await write).toBe(1);
});
