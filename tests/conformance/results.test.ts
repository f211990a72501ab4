import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { FsBlobs } from "@proof-of-compute/coordinator/adapters/fs-blobs";
import { MemoryBlobs } from "@proof-of-compute/coordinator/adapters/memory/blobs";
import { MemoryStore } from "@proof-of-compute/coordinator/adapters/memory/store";
import { SqliteStore } from "@proof-of-compute/coordinator/adapters/sqlite/store";
import { pino } from "pino";
import { onTestFinished } from "vitest";
import { makeFilesOlder } from "../support/blobs.ts";
import { ManualClock } from "../support/manual-clock.ts";
import { describeResults } from "./results.ts";

const logger = pino({ level: "silent" });

describeResults("MemoryStore and MemoryBlobs", async () => {
  const clock = new ManualClock();
  const store = new MemoryStore();
  const blobs = new MemoryBlobs({ clock });
  await store.start();
  return { store, blobs, another: async () => ({ store, blobs }), makeOlder: async (ms) => clock.jump(ms) };
});

describeResults("SqliteStore and FsBlobs", async () => {
  const root = await mkdtemp(join(tmpdir(), "results-"));
  const directory = join(root, "blobs");
  const store = new SqliteStore({ logger }, { path: join(root, "store.db") });
  const blobs = new FsBlobs({}, { directory });
  onTestFinished(async () => {
    await store.stop();
    await rm(root, { recursive: true });
  });
  await store.start();
  return { store, blobs, another: async () => ({ store, blobs }), makeOlder: (ms) => makeFilesOlder(directory, ms) };
});
