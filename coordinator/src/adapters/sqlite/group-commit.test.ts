import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { DatabaseSync } from "node:sqlite";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { openDatabase } from "./database.ts";
import { GroupCommit, type Operation } from "./group-commit.ts";

let folder: string;
let database: DatabaseSync;
let commits: GroupCommit;
const onFailure = vi.fn();

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "commit-"));
  database = openDatabase(join(folder, "store.db"));
  database.exec(`
    CREATE TABLE parents (id INTEGER PRIMARY KEY) STRICT;
    CREATE TABLE rows (id INTEGER PRIMARY KEY, data BLOB) STRICT;
    CREATE TABLE children (parent INTEGER REFERENCES parents (id) DEFERRABLE INITIALLY DEFERRED) STRICT;
  `);
  commits = new GroupCommit(database, onFailure);
  onFailure.mockClear();
});
afterEach(async () => {
  database.close();
  await rm(folder, { recursive: true });
});

const write = (run: () => unknown): Operation => ({ writes: true, run });
const read = (run: () => unknown): Operation => ({ writes: false, run });
const add = (id: number, length = 0) =>
  write(() => database.prepare("INSERT INTO rows VALUES (?, zeroblob(?))").run(id, length).changes);
const stored = () =>
  database
    .prepare("SELECT id FROM rows ORDER BY id")
    .all()
    .map(({ id }) => id);

test("commits a group in one transaction, in order, reads among the writes", () => {
  const values = [1, true, [1], 1, [1, 2]];
  const outcomes = commits.run([add(1), write(() => database.isTransaction), read(stored), add(2), read(stored)]);
  expect(outcomes).toEqual(values.map((value) => ({ value })));
  expect(database.isTransaction).toBe(false);
  expect(commits.run([read(() => database.isTransaction)])).toEqual([{ value: false }]);
});

test("rolls back only the operation that throws, as a whole", () => {
  const outcomes = commits.run([
    add(1),
    write(() => {
      database.exec("INSERT INTO rows VALUES (10, NULL)");
      throw new RangeError("mine");
    }),
    read(() => {
      throw new RangeError("a reader's");
    }),
    add(1),
    add(2),
    read(stored),
  ]);
  expect(outcomes).toMatchObject([
    { value: 1 },
    { error: { message: "mine" } },
    { error: { message: "a reader's" } },
    { error: { code: "INTERNAL", cause: { errcode: 1555 } } },
    { value: 1 },
    { value: [1, 2] },
  ]);
  expect(stored()).toEqual([1, 2]);
  expect(onFailure).not.toHaveBeenCalled();
});

test("refuses all writes of a failed commit, changes nothing, and answers the reads", () => {
  const orphan = write(() => database.exec("INSERT INTO children VALUES (404)"));
  const outcomes = commits.run([add(1), orphan, read(stored), add(2)]);
  const refused = { error: { code: "UNAVAILABLE", cause: { errcode: 787 } } };
  expect(outcomes).toMatchObject([refused, refused, { value: [] }, refused]);
  expect(stored()).toEqual([]);
  expect(onFailure).toHaveBeenCalledExactlyOnceWith(expect.objectContaining({ errcode: 787 }), 4);
  expect(commits.run([add(3)])).toEqual([{ value: 1 }]);
  expect(stored()).toEqual([3]);
});

test("refuses writes with UNAVAILABLE while the disk is full, and continues once there is space", () => {
  commits.run([add(1)]);
  const { page_count: pages } = database.prepare("PRAGMA page_count").get() as { page_count: number };
  database.exec(`PRAGMA max_page_count = ${pages + 2}`);
  const refused = { error: { code: "UNAVAILABLE", cause: { errcode: 13 } } };
  expect(commits.run([add(2, 1_000_000), add(3, 1_000_000)])).toMatchObject([refused, refused]);
  expect(stored()).toEqual([1]);
  expect(database.isTransaction).toBe(false);
  database.exec("PRAGMA max_page_count = 1000000");
  expect(commits.run([add(4, 1_000_000), add(5)])).toEqual([{ value: 1 }, { value: 1 }]);
  expect(stored()).toEqual([1, 4, 5]);
});
