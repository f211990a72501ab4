import type { Hex } from "@proof-of-compute/proto";
import { TaskSpec } from "@proof-of-compute/proto/task";
import { echo } from "@proof-of-compute/tests/support/echo/coordinator";
import { anOffer } from "@proof-of-compute/tests/support/fleet";
import {
  ALICE,
  aNetwork,
  LEASE_MS,
  live,
  settle,
  TestCoordinator,
} from "@proof-of-compute/tests/support/test-coordinator";
import { expect, test } from "vitest";
import type { MemoryStore } from "../../adapters/memory/store.ts";
import type { Owner } from "../../domain/owner.ts";
import { assign, type Task } from "../../domain/task.ts";
import { type CoordinatorKind, KINDS } from "../../kinds/index.ts";
import { newId } from "../../util/ids.ts";

/** A run of a coordinator of the next version, which nobody sees alive. */
const NEWER: Owner = { coordinatorId: "newer", incarnation: "0x07" };
/** A kind that the next version adds; its parameters do not matter here. */
const wasm: CoordinatorKind = { ...echo, name: "wasm" };
const DEADLINE_MS = 3_600_000;

/** A queued task of the next version's kind, as its coordinator would store it. */
function aNewerTask(now: number, change: Partial<Task> = {}): Task {
  const kind = { $case: "echo", value: { input: Uint8Array.of(7) } } as const;
  const spec = TaskSpec.encode({ ...TaskSpec.decode(new Uint8Array()), kind }).finish();
  const times = { createdAt: now, notBefore: now, deadline: now + DEADLINE_MS };
  const id = newId();
  return {
    id,
    version: 1,
    requester: ALICE,
    kind: "wasm",
    spec,
    state: "queued",
    attempts: 0,
    assignments: {},
    ...times,
    ...change,
  };
}

/** Stores a task of that kind with a live assignment at a node. */
async function running(store: MemoryStore, now: number, nodeId: Hex, change: Partial<Task> = {}) {
  const attempt = { id: newId(), nodeId, wallet: anOffer().wallet, assignedAt: now };
  const task = assign(aNewerTask(now, change), attempt, NEWER);
  await store.insertTask(task);
  return { task, id: attempt.id };
}

async function anOlderCoordinator(): Promise<{ store: MemoryStore; older: TestCoordinator }> {
  const { store, all } = await aNetwork("older");
  return { store, older: all[0]! };
}

test("leaves a live assignment of an unknown kind to its owner, though its node comes here and names it", async () => {
  const { store, older } = await anOlderCoordinator();
  const offer = anOffer();
  const { task, id } = await running(store, older.clock.now(), offer.nodeId);
  const { node, link } = await older.join(offer, [id]);
  for (let beat = 0; beat < 4; beat++) {
    older.leases.reconcile(node, new Set([id]));
    await settle();
  }
  await live(2 * LEASE_MS, older);
  await older.takeover.adopt(node);
  await older.takeover.reconcile();
  expect(await store.task(task.id)).toEqual(task);
  expect(link.cancelled).toEqual([]);
  expect(older.leases.get(id)).toBeUndefined();
});

test("cancels an assignment of an unknown kind once it has ended elsewhere", async () => {
  const { store, older } = await anOlderCoordinator();
  const offer = anOffer();
  const { task, id } = await running(store, older.clock.now(), offer.nodeId);
  const { node, link } = await older.join(offer, [id]);
  await store.saveTask({ ...task, version: task.version + 1, state: "queued", assignments: {} });
  for (let beat = 0; beat < 2; beat++) older.leases.reconcile(node, new Set([id]));
  await settle();
  expect(link.cancelled).toEqual([{ id, reason: "LEASE_LOST" }]);
});

test("cancels nothing while the store cannot say whose an assignment is", async () => {
  const { store, older } = await anOlderCoordinator();
  const offer = anOffer();
  const { id } = await running(store, older.clock.now(), offer.nodeId);
  const { node, link } = await older.join(offer, [id]);
  await store.stop();
  for (let beat = 0; beat < 3; beat++) older.leases.reconcile(node, new Set([id]));
  await settle();
  expect(link.cancelled).toEqual([]);
});

test("takes over orphans of the kinds that it knows, however many of other kinds come before them", async () => {
  const { store, older } = await anOlderCoordinator();
  const now = older.clock.now();
  for (let count = 0; count < 300; count++) await running(store, now, anOffer().nodeId);
  const attempt = { id: newId(), nodeId: anOffer().nodeId, wallet: anOffer().wallet, assignedAt: now };
  const known = await older.submit(ALICE);
  await store.saveTask(assign(known, attempt, NEWER));
  expect(await older.takeover.takeOverOrphans()).toBe(1);
  expect(await store.task(known.id)).toMatchObject({ state: "running", owner: older.peers.self });
});

test("gives no task of an unknown kind to a node, and says why it waits", async () => {
  const { store, older } = await anOlderCoordinator();
  const task = aNewerTask(older.clock.now());
  await store.insertTask(task);
  const { link } = await older.join(anOffer({ kinds: ["echo", "wasm"] }));
  const known = await older.submit(ALICE);
  await live(5_000, older);
  expect(await store.task(task.id)).toEqual(task);
  expect(link.assigned).toEqual([Object.keys((await store.task(known.id))!.assignments)[0]]);
  expect(older.scheduler.waitingReason(task)).toBe(
    "this coordinator does not know kind wasm; another one gives it out",
  );
});

test("ends what is overdue of an unknown kind: queued, or running without an owner", async () => {
  const { store, older } = await anOlderCoordinator();
  const now = older.clock.now();
  const queued = aNewerTask(now, { deadline: now + 90_000 });
  await store.insertTask(queued);
  const { task } = await running(store, now, anOffer().nodeId, { deadline: now + 90_000 });
  await live(85_000, older);
  expect([await store.task(queued.id), await store.task(task.id)]).toEqual([queued, task]);
  await live(LEASE_MS + 10_000, older);
  for (const { id } of [queued, task]) {
    expect(await store.task(id)).toMatchObject({ state: "failed", error: { code: "DEADLINE_PASSED" } });
  }
});

test("cancels tasks of an unknown kind: queued, and running without an owner", async () => {
  const { store, older } = await anOlderCoordinator();
  const queued = aNewerTask(older.clock.now());
  await store.insertTask(queued);
  const { task } = await running(store, older.clock.now(), anOffer().nodeId);
  expect((await older.scheduler.cancel(queued.id)).state).toBe("cancelled");
  expect((await older.scheduler.cancel(task.id)).state).toBe("cancelling");
  await live(LEASE_MS + 1_000, older);
  expect(await store.task(task.id)).toMatchObject({ state: "cancelled", error: { code: "CANCELLED" } });
});

test.each([
  ["no node that went on to a coordinator without its kind", true, 0],
  ["a node that is nowhere", false, 1],
])("a lease of a new kind that ends blames %s", async (_, moves, faults) => {
  const { store, older } = await anOlderCoordinator();
  const newer = new TestCoordinator(store, "newer", 8, () => {}, KINDS.with(echo, wasm));
  await newer.start();
  await live(5_000, older, newer);
  const offer = anOffer({ kinds: ["wasm"] });
  const { node, link } = await newer.join(offer);
  const task = aNewerTask(newer.clock.now());
  await store.insertTask(task);
  await live(5_000, older, newer);
  expect(link.assigned).toHaveLength(1);
  newer.fleet.leave(node, link);
  if (moves) await older.join(offer, link.assigned);
  await live(2 * LEASE_MS, older, newer);
  expect(await store.task(task.id)).toMatchObject({ state: "queued" });
  expect((await store.standing(node.id, offer.wallet))!.faults).toBe(faults);
});

test("an assignment that survived at a coordinator without its kind goes on at one that knows it", async () => {
  const { store, older } = await anOlderCoordinator();
  const offer = anOffer({ kinds: ["wasm"] });
  const { task, id } = await running(store, older.clock.now(), offer.nodeId);
  await older.join(offer, [id]);
  await live(5_000, older);
  const newer = new TestCoordinator(store, "newer", 8, () => {}, KINDS.with(echo, wasm));
  await newer.start();
  expect(await store.task(task.id)).toMatchObject({ state: "running", owner: newer.peers.self });
  const { node, link } = await newer.join(offer, [id]);
  expect([newer.leases.find(id, node)?.phase, link.cancelled]).toEqual(["running", []]);
});
