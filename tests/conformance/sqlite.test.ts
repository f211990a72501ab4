import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pino } from "pino";
import { afterEach, beforeEach } from "vitest";
import { SqliteStore } from "../../coordinator/src/adapters/sqlite/store.ts";
import { describeStore } from "./store.ts";

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

async function open(path: string): Promise<SqliteStore> {
  const store = new SqliteStore({ logger }, { path });
  opened.push(store);
  await store.start();
  return store;
}

describeStore("SqliteStore", async () => {
  const path = join(await mkdtemp(join(root, "store-")), "store.db");
  const store = await open(path);
  const reopen = async () => {
    await store.stop();
    return open(path);
  };
  return { store, reopen };
});
