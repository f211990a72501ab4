import { type Hex, sha256, toHex } from "@proof-of-compute/proto";
import { aNode, aTask, aVerifiedTask, hexOf } from "@proof-of-compute/tests/conformance/fixtures";
import { ManualClock } from "@proof-of-compute/tests/support/manual-clock";
import { pino } from "pino";
import { afterEach, beforeEach, expect, test } from "vitest";
import { MemoryBlobs } from "../adapters/memory/blobs.ts";
import { MemoryStore } from "../adapters/memory/store.ts";
import { ComputeError } from "../domain/errors.ts";
import { type Blobs, YOUNG_BLOB_MS } from "../ports/blobs.ts";
import { Retention } from "./retention.ts";

const DAY = 86_400_000;
let clock: ManualClock;
let store: MemoryStore;
let blobs: MemoryBlobs;
let logged: { msg: string }[];
const started: Retention[] = [];

beforeEach(async () => {
  clock = new ManualClock();
  store = new MemoryStore();
  blobs = new MemoryBlobs({ clock });
  await store.start();
  logged = [];
});
afterEach(() => Promise.all(started.splice(0).map((retention) => retention.stop())));

/** A started Retention, after its first sweep. */
async function retain(days: { results: number; tasks: number }, change: { blobs?: Blobs } = {}): Promise<Retention> {
  const retention = new Retention(
    {
      store,
      blobs,
      clock,
      logger: pino({ level: "debug" }, { write: (line: string) => void logged.push(JSON.parse(line)) }),
      random: () => 0.5,
      ...change,
    },
    { retentionMs: days.results * DAY, taskRetentionMs: days.tasks * DAY },
  );
  started.push(retention);
  retention.start();
  await sweep(retention);
  return retention;
}

/** Runs one sweep to its end, pauses included. */
async function sweep(retention: Retention): Promise<void> {
  let over = false;
  const ending = retention.sweep().finally(() => {
    over = true;
  });
  while (!over) await clock.run(20);
  await ending;
}

/** A blob of its own for each `content`, by its digest. */
async function putBlob(content: number): Promise<Hex> {
  const bytes = Uint8Array.of(content >> 8, content);
  const digest = toHex(sha256(bytes));
  await blobs.put(digest, bytes);
  return digest;
}

/** The n-th verified task, ended now. Its result is a small output, or the blob of that content. */
async function verify(n: number, { content }: { content?: number } = {}) {
  const acceptedAt = clock.now();
  const resultDigest = content === undefined ? hexOf(n, 32) : await putBlob(content);
  const { queued, running, receipt, verified } = aVerifiedTask(n, { acceptedAt, resultDigest });
  await store.insertTask(queued);
  await store.saveTask(running);
  await store.saveTask(verified, { receipt, ...(content === undefined && { output: Uint8Array.of(n) }) });
  return { id: queued.id, receiptId: receipt.receiptId, digest: receipt.resultDigest };
}

const storedBlobs = async () => (await blobs.list({ limit: 10_000 })).map(({ sha256 }) => sha256);

test("forgets results, then finished tasks, and never receipts", async () => {
  const small = await verify(1);
  const large = await verify(2, { content: 2 });
  const waiting = aTask(3, { deadline: clock.now() + 100 * DAY });
  await store.insertTask(waiting);
  const retention = await retain({ results: 7, tasks: 30 });
  clock.jump(7 * DAY - 1_000);
  await sweep(retention);
  expect(await store.output(small.id)).not.toBeNull();
  expect(await blobs.has(large.digest)).toBe(true);
  clock.jump(DAY);
  await sweep(retention);
  expect(await store.output(small.id)).toBeNull();
  expect(await blobs.has(large.digest)).toBe(false);
  expect(await store.task(small.id)).not.toBeNull();
  clock.jump(23 * DAY);
  await sweep(retention);
  for (const { id, receiptId } of [small, large]) {
    expect(await store.task(id)).toBeNull();
    expect(await store.receipt(receiptId)).not.toBeNull();
  }
  expect(await store.task(waiting.id)).not.toBeNull();
});

test("keeps a task as long as its result when results are kept longer", async () => {
  const { id, digest } = await verify(1, { content: 1 });
  const retention = await retain({ results: 7, tasks: 1 });
  clock.jump(6 * DAY);
  await sweep(retention);
  expect(await blobs.has(digest)).toBe(true);
  expect(await store.task(id)).not.toBeNull();
  clock.jump(2 * DAY);
  await sweep(retention);
  expect(await store.task(id)).toBeNull();
  expect(await blobs.has(digest)).toBe(false);
});

test("keeps a blob for the younger of two receipts with the same result, and deletes it with the last", async () => {
  const older = await verify(1, { content: 7 });
  clock.jump(3 * DAY);
  const younger = await verify(2, { content: 7 });
  expect(younger.digest).toBe(older.digest);
  const retention = await retain({ results: 7, tasks: 7 });
  clock.jump(5 * DAY);
  await sweep(retention);
  expect([await store.task(older.id), await blobs.has(younger.digest)]).toEqual([null, true]);
  clock.jump(3 * DAY);
  await sweep(retention);
  expect(await blobs.has(younger.digest)).toBe(false);
});

test("keeps a blob that is put again while its last receipt is being forgotten", async () => {
  const { digest } = await verify(1, { content: 1 });
  const retention = await retain({ results: 1, tasks: 1 });
  clock.jump(2 * DAY);
  const { referredDigests } = store;
  store.referredDigests = async (digests) => {
    const referred = await referredDigests.call(store, digests);
    // Another node's equal result arrives between the look at the receipts and the deletion.
    await verify(2, { content: 1 });
    Reflect.deleteProperty(store, "referredDigests");
    return referred;
  };
  await sweep(retention);
  expect(await blobs.has(digest)).toBe(true);
  clock.jump(DAY / 2);
  for (let round = 0; round < 3; round++) await sweep(retention);
  expect(await blobs.has(digest)).toBe(true);
  clock.jump(DAY);
  await sweep(retention);
  expect(await blobs.has(digest)).toBe(false);
});

test("deletes a blob without a receipt once it is old, and none that is young", async () => {
  const retention = await retain({ results: 7, tasks: 30 });
  const digest = await putBlob(1);
  clock.jump(YOUNG_BLOB_MS - 1_000);
  for (let round = 0; round < 3; round++) await sweep(retention);
  expect(await blobs.has(digest)).toBe(true);
  clock.jump(2_000);
  for (let round = 0; round < 2; round++) await sweep(retention);
  expect(await blobs.has(digest)).toBe(false);
  expect(logged.at(-1)).toMatchObject({ msg: "pruned expired data", orphans: 1 });
});

test("deletes the blob of a forgotten result whose coordinator died before it could", async () => {
  const { digest, id, receiptId } = await verify(1, { content: 1 });
  await store.forgetResults([{ taskId: id, receiptId }]);
  clock.jump(DAY);
  const retention = await retain({ results: 7, tasks: 30 });
  await sweep(retention);
  expect(await blobs.has(digest)).toBe(false);
});

test("inspects every blob, a page a sweep, wherever the coordinator begins", async () => {
  const [orphans, referred] = [[] as Hex[], [] as Hex[]];
  for (let n = 0; n < 1_300; n++) {
    if (n % 10 === 0) referred.push((await verify(n, { content: n })).digest);
    else orphans.push(await putBlob(n));
  }
  clock.jump(DAY);
  const retention = await retain({ results: 7, tasks: 30 });
  const left = [(await storedBlobs()).length];
  // From the middle to the end, then from the start.
  for (let round = 0; round < 3; round++) {
    await sweep(retention);
    left.push((await storedBlobs()).length);
  }
  expect(left.map((count, index) => (left[index - 1] ?? 1_300) - count).every((deleted) => deleted <= 500)).toBe(true);
  expect(await storedBlobs()).toEqual(referred.toSorted());
  expect(orphans).toHaveLength(1_170);
});

test("deletes a blob of the version before with its receipt, and as an orphan only once it was seen for long", async () => {
  const forgotten = await verify(1, { content: 1 });
  const orphan = await putBlob(2);
  let listed = 0;
  /** Without the time of the put until the blob is listed for the first time. */
  const unnoted: Blobs = Object.assign(Object.create(blobs) as Blobs, {
    put: blobs.put.bind(blobs),
    find: async (digests: readonly Hex[]) => (await blobs.find(digests)).map(({ ageMs: _, ...blob }) => blob),
    list: async (query: { after?: Hex; limit: number }) => {
      const found = await blobs.list(query);
      if (listed++ > 0) return found;
      for (const { sha256 } of found) await blobs.put(sha256, (await blobs.get(sha256))!);
      return found.map(({ ageMs: _, ...blob }) => blob);
    },
    delete: blobs.delete.bind(blobs),
  });
  clock.jump(2 * DAY);
  const retention = await retain({ results: 1, tasks: 1 }, { blobs: unnoted });
  expect(await storedBlobs()).toEqual([orphan]);
  expect(forgotten.digest).not.toBe(orphan);
  await sweep(retention);
  expect(await storedBlobs()).toEqual([orphan]);
  clock.jump(YOUNG_BLOB_MS);
  for (let round = 0; round < 2; round++) await sweep(retention);
  expect(await storedBlobs()).toEqual([]);
});

test("prunes nodes that never earned a month after they were last seen", async () => {
  const lastSeen = clock.now();
  await store.joinNode(aNode(1, { status: "offline", lastSeen }));
  await store.joinNode(aNode(2, { status: "online", lastSeen }));
  const retention = await retain({ results: 7, tasks: 30 });
  clock.jump(30 * DAY - 1_000);
  await sweep(retention);
  expect((await store.nodes({ limit: 10 })).items).toHaveLength(2);
  clock.jump(2_000);
  await sweep(retention);
  expect((await store.nodes({ limit: 10 })).items.map(({ id }) => id)).toEqual([hexOf(2, 32)]);
});

test("forgets all that is due in one sweep, write by write", async () => {
  for (let n = 0; n < 1_203; n++) await verify(n, { content: n });
  const writes: number[] = [];
  const { pruneTasks } = store;
  store.pruneTasks = async (before, limit) => {
    const pruned = await pruneTasks.call(store, before, limit);
    writes.push(pruned);
    return pruned;
  };
  const retention = await retain({ results: 1, tasks: 1 });
  clock.jump(2 * DAY);
  await sweep(retention);
  // The first sweep found nothing to do.
  expect(writes).toEqual([0, 500, 500, 203]);
  expect(await storedBlobs()).toEqual([]);
  expect(logged).toMatchObject([{ msg: "pruned expired data", results: 1_203, tasks: 1_203, nodes: 0, orphans: 0 }]);
});

test("keeps tasks while their results cannot be forgotten, and catches up in the next sweep", async () => {
  const { id, digest } = await verify(1, { content: 1 });
  const retention = await retain({ results: 1, tasks: 1 });
  clock.jump(2 * DAY);
  store.forgetResults = () => Promise.reject(new ComputeError("UNAVAILABLE"));
  await sweep(retention);
  expect(await store.task(id)).not.toBeNull();
  expect(await blobs.has(digest)).toBe(true);
  expect(logged.map(({ msg }) => msg)).toEqual(["could not prune expired data; trying again"]);
  Reflect.deleteProperty(store, "forgetResults");
  await clock.run(60_000, 1_000);
  expect(await store.task(id)).toBeNull();
  expect(await blobs.has(digest)).toBe(false);
});

test("two coordinators that sweep at once forget everything, equal results too", async () => {
  const tasks = [await verify(1), await verify(2, { content: 1 }), await verify(3, { content: 1 })];
  const both = [await retain({ results: 1, tasks: 1 }), await retain({ results: 1, tasks: 1 })];
  clock.jump(2 * DAY);
  await Promise.all(both.map(sweep));
  for (const { id, receiptId } of tasks) {
    expect([await store.task(id), (await store.receipt(receiptId))?.receiptId]).toEqual([null, receiptId]);
  }
  expect(await storedBlobs()).toEqual([]);
  expect(logged.filter(({ msg }) => msg.includes("could not"))).toEqual([]);
});

test("stopping cuts a pause short and leaves no timer", async () => {
  for (let n = 0; n < 101; n++) await verify(n, { content: n });
  const retention = await retain({ results: 1, tasks: 1 });
  clock.jump(2 * DAY);
  const sweeping = retention.sweep();
  await expect.poll(async () => (await storedBlobs()).length, { interval: 5, timeout: 10_000 }).toBe(1);
  await retention.stop();
  await sweeping;
  expect([clock.pending, (await storedBlobs()).length]).toEqual([0, 1]);
});
