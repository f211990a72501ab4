import { mkdtemp, readdir, rm, stat, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { FsBlobs } from "@proof-of-compute/coordinator/adapters/fs-blobs";
import { afterAll, beforeAll, expect, test } from "vitest";
import { makeFilesOlder } from "../support/blobs.ts";
import { describeBlobs, digestOf } from "./blobs.ts";

let root: string;
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), "blobs-"));
});
afterAll(() => rm(root, { recursive: true }));

const newDirectory = async () => join(await mkdtemp(join(root, "test-")), "blobs");

describeBlobs("FsBlobs", async () => {
  const directory = await newDirectory();
  const blobs = new FsBlobs({}, { directory });
  // A folder belongs to one coordinator, so concurrent calls go to one adapter.
  return {
    blobs,
    reopen: async () => new FsBlobs({}, { directory }),
    makeOlder: (ms) => makeFilesOlder(directory, ms),
  };
});

const bytes = Buffer.from("a result of some length");
const digest = digestOf(bytes);

test("lets only its owner read, and leaves no drafts", async () => {
  const directory = await newDirectory();
  const blobs = new FsBlobs({}, { directory });
  await blobs.put(digest, bytes);
  const path = join(directory, digest.slice(2, 4), digest.slice(4));
  expect((await stat(path)).mode & 0o777).toBe(0o600);
  expect((await stat(directory)).mode & 0o777).toBe(0o700);
  expect(await readdir(join(directory, "incoming"))).toEqual([]);
});

test("reports damage on the disk, and repairs it when the blob is put again", async () => {
  const directory = await newDirectory();
  const blobs = new FsBlobs({}, { directory });
  await blobs.put(digest, bytes);
  await truncate(join(directory, digest.slice(2, 4), digest.slice(4)), 3);
  await expect(blobs.get(digest)).rejects.toMatchObject({ code: "UNAVAILABLE" });
  await blobs.put(digest, bytes);
  expect(await blobs.get(digest)).toEqual(bytes);
});

test("deletes drafts of a killed process at its next use", async () => {
  const directory = await newDirectory();
  await new FsBlobs({}, { directory }).put(digest, bytes);
  await writeFile(join(directory, "incoming", "left-over"), "half");
  await new FsBlobs({}, { directory }).put(digest, bytes);
  expect(await readdir(join(directory, "incoming"))).toEqual([]);
});

test("rejects with UNAVAILABLE when the folder cannot be written, and recovers", async () => {
  const directory = await newDirectory();
  await writeFile(directory, "a file in the way");
  const blobs = new FsBlobs({}, { directory });
  await expect(blobs.put(digest, bytes)).rejects.toMatchObject({ code: "UNAVAILABLE" });
  await rm(directory);
  await blobs.put(digest, bytes);
  expect(await blobs.get(digest)).toEqual(bytes);
});
