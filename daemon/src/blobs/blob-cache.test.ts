import { createHash, randomBytes } from "node:crypto";
import { readdir, readFile, rm, stat, symlink, utimes, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { toHex } from "@proof-of-compute/proto";
import { recordingLogger, temporaryFolder } from "@proof-of-compute/tests/support/daemon/daemon";
import { describe, expect, test } from "vitest";
import { BlobCache } from "./blob-cache.ts";

const idOf = (content: Uint8Array) => toHex(createHash("sha256").update(content).digest());
const nameOf = (content: Uint8Array) => idOf(content).slice(2);

async function open(given: { dir?: string; maxBytes?: number } = {}) {
  const dir = given.dir ?? join(await temporaryFolder(), "blobs");
  const { logger, lines } = recordingLogger();
  const cache = new BlobCache({ logger }, { dir, maxBytes: given.maxBytes ?? 2 ** 20 });
  const add = async (...contents: readonly Uint8Array[]) => {
    for (const content of contents) await cache.add(idOf(content), content);
  };
  const has = async (content: Uint8Array) => (await cache.read(idOf(content))) !== undefined;
  return { dir, cache, lines, add, has };
}

describe("the blob cache", () => {
  test("returns what was added, even after a restart, and nothing else", async () => {
    const before = await open();
    const [small, large] = [randomBytes(10), randomBytes(300_000)];
    await before.add(small, large);
    for (const { cache } of [before, await open({ dir: before.dir })]) {
      expect(await cache.read(idOf(small))).toEqual(small);
      expect(await cache.read(idOf(large))).toEqual(large);
      expect(await cache.read(idOf(randomBytes(1)))).toBeUndefined();
    }
  });

  test("is readable by its owner only", async () => {
    const { dir, add } = await open();
    const content = randomBytes(10);
    await add(content);
    expect((await stat(dir)).mode & 0o777).toBe(0o700);
    expect((await stat(join(dir, nameOf(content)))).mode & 0o777).toBe(0o600);
  });

  test("drops the least recently used blob to make room", async () => {
    const { dir, add, has } = await open({ maxBytes: 1_000 });
    const [a, b, c] = [randomBytes(400), randomBytes(400), randomBytes(400)];
    await add(a, b);
    expect(await has(a)).toBe(true);
    await add(c);
    expect([await has(a), await has(b), await has(c)]).toEqual([true, false, true]);
    expect((await readdir(dir)).sort()).toEqual([nameOf(a), nameOf(c)].sort());
  });

  test("stays within its bound during concurrent writes", async () => {
    const { dir, cache } = await open({ maxBytes: 1_000 });
    const contents = Array.from({ length: 20 }, () => randomBytes(300));
    await Promise.all(contents.map((content) => cache.add(idOf(content), content)));
    expect((await readdir(dir)).sort()).toEqual(contents.slice(-3).map(nameOf).sort());
  });

  test("keeps no blob that is larger than its bound", async () => {
    const { cache, add, has } = await open({ maxBytes: 1_000 });
    const [kept, large] = [randomBytes(400), randomBytes(1_001)];
    await add(kept, large);
    expect([await has(kept), await has(large)]).toEqual([true, false]);
    expect(await cache.read(idOf(large))).toBeUndefined();
  });

  test("remembers the order of use across a restart, and shrinks to a smaller bound", async () => {
    const { dir, add } = await open();
    const [a, b, c] = [randomBytes(400), randomBytes(400), randomBytes(400)];
    await add(a, b, c);
    for (const [content, seconds] of [
      [c, 1],
      [a, 2],
      [b, 3],
    ] as const) {
      await utimes(join(dir, nameOf(content)), seconds, seconds);
    }
    const { has } = await open({ dir, maxBytes: 900 });
    expect([await has(a), await has(b), await has(c)]).toEqual([true, true, false]);
  });

  test("drops a damaged file, and logs it", async () => {
    const { dir, lines, add, has } = await open();
    const content = randomBytes(100);
    await add(content);
    await writeFile(join(dir, nameOf(content)), randomBytes(100));
    expect(await has(content)).toBe(false);
    expect(lines.map(({ msg }) => msg)).toEqual(["dropped a damaged blob from the cache"]);
    expect(await readdir(dir)).toEqual([]);
    await add(content);
    expect(await has(content)).toBe(true);
  });

  test("treats a deleted file as a missing blob", async () => {
    const { dir, lines, add, has } = await open();
    const content = randomBytes(100);
    await add(content);
    await rm(join(dir, nameOf(content)));
    expect(await has(content)).toBe(false);
    await add(content);
    expect(await has(content)).toBe(true);
    expect(lines).toEqual([]);
  });

  test("removes what a crash left unfinished, and no other files", async () => {
    const dir = await temporaryFolder();
    const content = randomBytes(100);
    await writeFile(join(dir, `${nameOf(content)}.draft`), content.subarray(0, 50));
    await writeFile(join(dir, "note.txt"), "mine");
    const { has } = await open({ dir });
    expect(await has(content)).toBe(false);
    expect(await readdir(dir)).toEqual(["note.txt"]);
  });

  test.runIf(process.platform === "linux")("logs once that the disk is full, and recovers", async () => {
    const { dir, lines, add, has } = await open();
    const [first, second] = [randomBytes(100), randomBytes(100)];
    // The first use removes the drafts that it finds.
    await add(randomBytes(1));
    for (const content of [first, second]) await symlink("/dev/full", join(dir, `${nameOf(content)}.draft`));
    await add(first, second);
    expect(lines.map(({ msg }) => msg)).toEqual([
      "cannot keep blobs on disk; tasks fetch them again until there is space",
    ]);
    expect(await has(first)).toBe(false);
    await add(first);
    expect(await has(first)).toBe(true);
    expect(await readFile(join(dir, nameOf(first)))).toEqual(first);
  });

  test("works as an empty cache when it cannot create its folder", async () => {
    const file = join(await temporaryFolder(), "file");
    await writeFile(file, "");
    const { lines, add, has } = await open({ dir: join(file, "blobs") });
    const content = randomBytes(10);
    await add(content);
    expect(await has(content)).toBe(false);
    expect(lines).toHaveLength(1);
  });
});
