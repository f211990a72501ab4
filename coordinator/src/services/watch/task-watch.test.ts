import type { Hex } from "@proof-of-compute/proto";
import {
  aBatch,
  aCoordinator,
  aReceipt,
  assigned,
  aTask,
  HERE,
  hexOf,
  THERE,
} from "@proof-of-compute/tests/conformance/fixtures";
import { ManualClock } from "@proof-of-compute/tests/support/manual-clock";
import { pino } from "pino";
import { afterEach, beforeEach, expect, test } from "vitest";
import { MemoryStore } from "../../adapters/memory/store.ts";
import { ComputeError } from "../../domain/errors.ts";
import { isSameOwner, type Owner } from "../../domain/owner.ts";
import { accept, takeOver } from "../../domain/task.ts";
import { TaskEvents } from "./task-events.ts";
import { TaskWatch } from "./task-watch.ts";

const ELSEWHERE = "http://there:3000";
let clock: ManualClock;
let store: MemoryStore;
let events: TaskEvents;
let watch: TaskWatch;
let others: Owner[];
let reads: string[];
let asked: [string, readonly Hex[]][];
let progress: Map<Hex, number>;
let logged: string[];

beforeEach(async () => {
  clock = new ManualClock();
  store = new MemoryStore();
  await store.start();
  events = new TaskEvents();
  others = [THERE];
  reads = [];
  asked = [];
  progress = new Map();
  logged = [];
  const counted = new Proxy(store, {
    get: (target, name: keyof MemoryStore) => {
      reads.push(name);
      return (target[name] as () => unknown).bind(target);
    },
  });
  watch = new TaskWatch({
    store: counted,
    events,
    peers: {
      addressOf: (owner) => (others.some((other) => isSameOwner(other, owner)) ? ELSEWHERE : undefined),
      others: () => others.map((owner) => aCoordinator(owner)),
    },
    link: {
      progress: async (address, ids) => {
        asked.push([address, ids]);
        return progress;
      },
    },
    clock,
    logger: pino({ level: "debug" }, { write: (line: string) => void logged.push(JSON.parse(line).msg) }),
    random: () => 0.5,
  });
  watch.start();
});
afterEach(() => watch.stop());

/** Counts what is told of a task. */
function follow(id: Hex) {
  const follower = { told: 0, leave: () => {} };
  follower.leave = events.subscribe(id, () => follower.told++);
  return follower;
}

/** Lets some looks happen, a second each, with the turns that their reads take. */
async function look(times = 1): Promise<void> {
  for (let i = 0; i < times; i++) {
    await clock.run(1_000);
    for (let turn = 0; turn < 3; turn++) await clock.run(1);
  }
}

test("what another coordinator writes is told here, once", async () => {
  const task = aTask(1);
  await store.insertTask(task);
  const reader = follow(task.id);
  await look();
  // Whatever happened before it was first looked at.
  expect(reader.told).toBe(1);
  await look(3);
  expect(reader.told).toBe(1);
  await store.saveTask(assigned(task, hexOf(7), 1, THERE));
  await look(3);
  expect(reader.told).toBe(2);
});

test("the store is asked nothing while nobody watches, or while there is no other coordinator", async () => {
  const task = aTask(1);
  await store.insertTask(task);
  await look(3);
  expect(reads).toEqual([]);
  const reader = follow(task.id);
  others = [];
  await look(3);
  expect(reads).toEqual([]);
  others = [THERE];
  await look();
  expect(reads).toEqual(["taskVersions", "task"]);
  await look();
  // One read a look when nothing changed, however many watch.
  expect(reads.splice(0)).toEqual(["taskVersions", "task", "taskVersions"]);
  reader.leave();
  await look(3);
  expect(reads).toEqual([]);
});

test("progress of a task that runs at a living peer is asked there, and of no other", async () => {
  const running = [assigned(aTask(1), hexOf(11), 1, THERE), assigned(aTask(2), hexOf(12), 1, HERE), aTask(3)];
  for (const task of running) await store.insertTask(task);
  const readers = running.map(({ id }) => follow(id));
  const { id } = running[0]!;
  progress.set(id, 0.25);
  await look();
  expect(asked).toEqual([[ELSEWHERE, [id]]]);
  expect(running.map((task) => watch.progressOf(task.id))).toEqual([0.25, undefined, undefined]);
  expect(readers.map(({ told }) => told)).toEqual([2, 1, 1]);
  await look();
  expect(readers[0]!.told).toBe(2);
  progress.set(id, 0.5);
  await look();
  expect([readers[0]!.told, watch.progressOf(id)]).toEqual([3, 0.5]);
  // A lost answer is no step back.
  progress.clear();
  await look();
  expect([readers[0]!.told, watch.progressOf(id)]).toEqual([3, 0.5]);
});

test("progress is forgotten when the attempt ends, and when nobody watches", async () => {
  const first = assigned(aTask(1), hexOf(11), 1, THERE);
  await store.insertTask(first);
  const reader = follow(first.id);
  progress.set(first.id, 0.5);
  await look();
  await store.saveTask(takeOver(first, HERE));
  await look();
  expect(watch.progressOf(first.id)).toBeUndefined();
  await store.saveTask(takeOver({ ...first, version: first.version + 1 }, THERE));
  await look();
  expect(watch.progressOf(first.id)).toBe(0.5);
  reader.leave();
  await look();
  expect(watch.progressOf(first.id)).toBeUndefined();
});

test("a batch that moves is told to those who follow verified tasks", async () => {
  const task = assigned(aTask(1), hexOf(11), 1, THERE);
  await store.insertTask(task);
  const reader = follow(task.id);
  await look();
  expect(reads).not.toContain("batches");
  const receipt = aReceipt(task, hexOf(11));
  await store.saveTask(accept(task, receipt), { receipt });
  await look();
  expect(reader.told).toBe(2);
  await store.insertBatch(aBatch(1, [receipt]));
  await look(2);
  expect(reader.told).toBe(3);
  for (const state of ["included", "recorded"] as const) await store.updateBatch(1, { state }).then(() => look(2));
  expect(reader.told).toBe(5);
});

test("a task that is pruned is told", async () => {
  const task = aTask(1, { state: "cancelled", endedAt: 5 });
  await store.insertTask(task);
  const reader = follow(task.id);
  await look();
  await store.pruneTasks(10, 10);
  await look(3);
  expect(reader.told).toBe(2);
});

test("while the store is away readers keep what they have, and afterwards they hear of everything", async () => {
  const task = aTask(1);
  await store.insertTask(task);
  const reader = follow(task.id);
  await look();
  const away = () => Promise.reject(new ComputeError("UNAVAILABLE"));
  store.taskVersions = away;
  await look(5);
  expect(logged).toEqual(["watched tasks could not be looked at; trying again"]);
  await store.saveTask(assigned(task, hexOf(7), 1, THERE));
  Reflect.deleteProperty(store, "taskVersions");
  // The versions come back before the tasks do.
  store.task = away;
  await look();
  expect(reader.told).toBe(1);
  Reflect.deleteProperty(store, "task");
  await look();
  expect(reader.told).toBe(2);
});

test("it stops, and waits for what is under way", async () => {
  follow(hexOf(1));
  clock.advance(1_000);
  await watch.stop();
  await watch.stop();
  expect([clock.pending, reads.length]).toEqual([0, 1]);
  await look(3);
  expect(reads.length).toBe(1);
});
