import { mkdtemp, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { openStore } from "@proof-of-compute/coordinator/compose/open-store";
import { pino } from "pino";
import { beforeEach, expect, onTestFinished, test } from "vitest";
import { mongoOrSkip, sharedMongo } from "../support/mongo.ts";

const logger = pino({ level: "silent" });
/** A path where nobody can create a folder. */
let DATA_DIR: string;

beforeEach(async () => {
  const folder = await mkdtemp(join(tmpdir(), "proof-of-compute-"));
  const file = join(folder, "file");
  await writeFile(file, "");
  DATA_DIR = join(file, "data");
  return () => rm(folder, { recursive: true });
});

test("SQLite without a writable folder names its setting", async () => {
  await expect(openStore({ MONGODB_URI: undefined, DATA_DIR }, logger)).rejects.toMatchObject({
    code: "UNAVAILABLE",
    message: expect.stringMatching(/ENOTDIR.*DATA_DIR must name a folder that can be written/),
  });
});

test("MongoDB needs no folder", async (context) => {
  const server = await mongoOrSkip(context, sharedMongo());
  onTestFinished(() => server.stop());
  const opened = await openStore({ MONGODB_URI: server.uri(), DATA_DIR }, logger);
  expect(await opened.store.boundTo()).toBeNull();
  await opened.stop();
  await expect(stat(DATA_DIR)).rejects.toThrow("ENOTDIR");
});
