import type { Hex } from "@proof-of-compute/proto";
import { aNode, aTask, aVerifiedTask, hexOf } from "@proof-of-compute/tests/conformance/fixtures";
import { ManualClock } from "@proof-of-compute/tests/support/manual-clock";
import { pino } from "pino";
import { afterEach, beforeEach, expect, test } from "vitest";
import { MemoryStore } from "../adapters/memory/store.ts";
import { ComputeError } from "../domain/errors.ts";
import { Retention } from "./retention.ts";

const DAY = 86_400_000;
let clock: ManualClock;
let store: MemoryStore;
let deleted: Hex[];
let logged: { msg: string }[];
const started: Retention[] = [];

beforeEach(async () => {
  clock = new ManualClock();
  store = new MemoryStore();
  await store.start();
  deleted = [];
  logged = [];
});
afterEach(() => Promise.all(started.splice(0).map((retention) => retention.stop())));

/** Running, and done with the sweep of its start. */
async function retain(days: { results: number; tasks: number }): Promise<Retention> {
  const retention = new Retention(
    {
      store,
      blobs: { delete: async (digest) => void deleted.push(digest) },
      clock,
      logger: pino({ level: "debug" }, { write: (line: string) => void logged.push(JSON.parse(line)) }),
      random: () => 0.5,
    },
    { retentionMs: days.results * DAY, taskRetentionMs: days.tasks * DAY },
  );
  started.push(retention);
  retention.start();
  await sweep(retention);
  return retention;
}

/** Lets a sweep pass, with its pauses. */
async function sweep(retention: Retention): Promise<void> {
  let over = false;
  const ending = retention.sweep().finally(() => {
    over = true;
  });
  while (!over) await clock.run(20);
  await ending;
}

/** A verified task, the n-th, that ended now. */
async function verify(n: number) {
  const at = clock.now();
  const { queued, running, receipt, verified } = aVerifiedTask(n, { acceptedAt: at, resultDigest: hexOf(n, 32) });
  await store.insertTask(queued);
  await store.saveTask(running);
  await store.saveTask(verified, { receipt, output: Uint8Array.of(n) });
  return { id: queued.id, receiptId: receipt.receiptId, digest: receipt.resultDigest };
}

test("results go after their time, finished tasks after theirs, receipts never", async () => {
  const { id, receiptId, digest } = await verify(1);
  const waiting = aTask(2, { deadline: clock.now() + 100 * DAY });
  await store.insertTask(waiting);
  const retention = await retain({ results: 7, tasks: 30 });
  clock.jump(7 * DAY - 1_000);
  await sweep(retention);
  expect(deleted).toEqual([]);
  clock.jump(DAY);
  await sweep(retention);
  expect([deleted, await store.output(id)]).toEqual([[digest], null]);
  expect(await store.task(id)).not.toBeNull();
  clock.jump(23 * DAY);
  await sweep(retention);
  expect(await store.task(id)).toBeNull();
  expect(await store.receipt(receiptId)).not.toBeNull();
  expect(await store.task(waiting.id)).not.toBeNull();
});

test("a task is kept as long as its result, if that is kept longer", async () => {
  const { id } = await verify(1);
  const retention = await retain({ results: 7, tasks: 1 });
  clock.jump(6 * DAY);
  await sweep(retention);
  expect(await store.output(id)).not.toBeNull();
  expect(await store.task(id)).not.toBeNull();
  clock.jump(2 * DAY);
  await sweep(retention);
  expect(await store.task(id)).toBeNull();
  expect(deleted).toHaveLength(1);
});

test("nodes that never earned go a month after they were last seen", async () => {
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

test("many are forgotten write by write, and all of them", async () => {
  for (let n = 0; n < 1_203; n++) await verify(n);
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
  // The sweep at the start found nothing to do.
  expect(writes).toEqual([0, 500, 500, 203]);
  expect(new Set(deleted).size).toBe(1_203);
  expect(logged).toMatchObject([{ msg: "forgot what is old", results: 1_203, tasks: 1_203, nodes: 0 }]);
});

test("tasks stay while their results cannot be forgotten, and the next sweep makes up for it", async () => {
  const { id } = await verify(1);
  const retention = await retain({ results: 1, tasks: 1 });
  clock.jump(2 * DAY);
  store.forgetResults = () => Promise.reject(new ComputeError("UNAVAILABLE"));
  await sweep(retention);
  expect(await store.task(id)).not.toBeNull();
  expect(logged.map(({ msg }) => msg)).toEqual(["what is old could not be forgotten; trying again"]);
  Reflect.deleteProperty(store, "forgetResults");
  await clock.run(60_000, 1_000);
  expect(await store.task(id)).toBeNull();
});

test("two coordinators that sweep at once forget everything once", async () => {
  const tasks = [await verify(1), await verify(2)];
  const both = [await retain({ results: 1, tasks: 1 }), await retain({ results: 1, tasks: 1 })];
  clock.jump(2 * DAY);
  await Promise.all(both.map(sweep));
  for (const { id, receiptId } of tasks) {
    expect([await store.task(id), (await store.receipt(receiptId))?.receiptId]).toEqual([null, receiptId]);
  }
  expect(logged.filter(({ msg }) => msg.includes("could not"))).toEqual([]);
});

test("stopping cuts a pause short and leaves no timer", async () => {
  for (let n = 0; n < 101; n++) await verify(n);
  const retention = await retain({ results: 1, tasks: 1 });
  clock.jump(2 * DAY);
  const sweeping = retention.sweep();
  await expect.poll(() => deleted.length, { interval: 5, timeout: 10_000 }).toBe(100);
  await retention.stop();
  await sweeping;
  expect([clock.pending, deleted.length]).toEqual([0, 100]);
});
