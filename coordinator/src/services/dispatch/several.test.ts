import { setImmediate as nextTurn } from "node:timers/promises";
import { anOffer } from "@proof-of-compute/tests/support/fleet";
import {
  ALICE,
  aNetwork,
  BOB,
  HEARTBEAT_MS,
  LEASE_MS,
  live,
  settle,
  TestCoordinator,
} from "@proof-of-compute/tests/support/test-coordinator";
import { expect, test } from "vitest";
import { ComputeError } from "../../domain/errors.ts";
import { liveAssignment } from "../../domain/task.ts";

test("takes over the assignments of a dead coordinator while their node keeps running them", async () => {
  const { store, all } = await aNetwork("a", "b", "c");
  const [a, b, c] = all as [TestCoordinator, TestCoordinator, TestCoordinator];
  const offer = anOffer();
  await a.join(offer);
  const task = await a.submit(ALICE);
  expect((await store.task(task.id))!.owner).toEqual(a.peers.self);

  // A dies. Before the others notice, its node comes to B with what it runs.
  const { link } = await b.join(offer, [liveAssignment(task)!.id]);
  const run = b.leases.ofTask(task.id)!;
  expect((await store.task(task.id))!.owner).toEqual(b.peers.self);
  await live(2 * LEASE_MS, b, c);
  expect(link.cancelled).toEqual([]);
  await b.complete(run);
  const verified = (await store.task(task.id))!;
  expect(verified.state).toBe("verified");
  expect(Object.keys(verified.assignments)).toHaveLength(1);
});

test("gives a dead coordinator's task to another node when its node does not come back", async () => {
  const { store, all } = await aNetwork("a", "b", "c");
  const [a, b, c] = all as [TestCoordinator, TestCoordinator, TestCoordinator];
  const lost = anOffer();
  await a.join(lost);
  const task = await a.submit(ALICE);
  await c.join(anOffer());
  await live(LEASE_MS + 10_000, b, c);
  expect(await store.node(lost.nodeId)).toMatchObject({ status: "offline" });
  expect([b, c].map(({ peers }) => peers.self)).toContainEqual((await store.task(task.id))!.owner);
  await live(LEASE_MS + 20_000, b, c);
  const again = (await store.task(task.id))!;
  expect(again).toMatchObject({ state: "running", owner: c.peers.self });
  expect(Object.values(again.assignments).map(({ state }) => state)).toEqual(["lost", "live"]);
});

test("refuses a paused coordinator what ended meanwhile, and gives it back what its nodes still run", async () => {
  const { store, all } = await aNetwork("a", "b");
  const [a, b] = all as [TestCoordinator, TestCoordinator];
  const { node, link } = await a.join(anOffer());
  const [stale, kept] = [await a.submit(ALICE), await a.submit(ALICE)];
  const [staleRun, keptRun] = [a.leases.ofTask(stale.id)!, a.leases.ofTask(kept.id)!];
  for (const run of [staleRun, keptRun]) a.leases.advance(run, 0.5);

  await live(LEASE_MS + 10_000, b);
  expect((await store.task(stale.id))!.owner).toEqual(b.peers.self);
  await b.leases.end(b.leases.ofTask(stale.id)!, "lost", "NODE_OFFLINE");
  await expect(a.complete(staleRun)).rejects.toMatchObject({ code: "CONFLICT" });
  expect(await store.receipts({ limit: 10 })).toEqual({ items: [] });

  // Whether it compares first, or hears that it was missed.
  await a.takeover.reconcile();
  expect((await store.task(kept.id))!.owner).toEqual(a.peers.self);
  expect(link.cancelled).toEqual([{ id: staleRun.id, reason: "LEASE_LOST" }]);
  await a.takeover.adopt(node);
  await a.complete(keptRun);
  expect((await store.task(kept.id))!.state).toBe("verified");
  expect((await store.receipts({ limit: 10 })).items).toHaveLength(1);
});

test("keeps a correct result of a coordinator that was taken for dead", async () => {
  const { store, all } = await aNetwork("a", "b");
  const [a, b] = all as [TestCoordinator, TestCoordinator];
  await a.join(anOffer());
  const task = await a.submit(ALICE);
  const run = a.leases.ofTask(task.id)!;
  await live(LEASE_MS + 10_000, b);
  expect((await store.task(task.id))!.owner).toEqual(b.peers.self);
  await a.complete(run);
  expect((await store.task(task.id))!.state).toBe("verified");
  await live(2 * LEASE_MS, b);
  expect([a.leases.size, b.leases.size]).toEqual([0, 0]);
  expect((await store.standing(run.node.id, run.wallet))?.faults ?? 0).toBe(0);
});

test("takes nothing from a coordinator that has only just registered", async () => {
  const { all } = await aNetwork("a");
  const [a] = all as [TestCoordinator];
  const d = new TestCoordinator(a.store, "d", 1, () => {});
  await d.start();
  const { node } = await d.join(anOffer());
  const task = await d.submit(ALICE);
  await a.scheduler.takeOver();
  expect((await a.store.task(task.id))!.owner).toEqual(d.peers.self);
  expect((await a.store.node(node.id))!.status).toBe("online");
});

test("keeps a node's standing across a restart after which the node stays away", async () => {
  const { store, all } = await aNetwork("a");
  const [a] = all as [TestCoordinator];
  const offer = anOffer();
  await store.saveStandings([{ nodeId: offer.nodeId, wallet: offer.wallet, cap: 8, valid: 12_345, faults: 1 }]);
  await a.join(offer);
  await a.submit(ALICE);
  const again = new TestCoordinator(store, "a", 2, () => {});
  await again.start();
  await live(2 * LEASE_MS, again);
  expect(await store.standing(offer.nodeId, offer.wallet)).toMatchObject({ cap: 1, valid: 12_345, faults: 2 });
});

test("asks a store that refuses writes once a second, not as fast as it refuses", async () => {
  const { store, all } = await aNetwork("a");
  const [a] = all as [TestCoordinator];
  // More than are dealt at once, so that a refusal gives room back while the next tasks are read.
  const slots = 300;
  for (let count = 0; count < 2 * slots; count++) await a.submit(ALICE);
  const { queuedTasks } = store;
  store.queuedTasks = async (query) => {
    await nextTurn();
    return queuedTasks.call(store, query);
  };
  let asked = 0;
  store.saveTask = async () => {
    asked++;
    await nextTurn();
    throw new ComputeError("UNAVAILABLE");
  };
  await a.join(anOffer({ slots }));
  await live(5_000, a);
  expect(asked).toBeLessThan(10 * slots);
  expect(asked).toBeGreaterThan(2 * 256);
});

test("stores a node's state once the store is back", async () => {
  const { store, all } = await aNetwork("a");
  const [a] = all as [TestCoordinator];
  const { node, link } = await a.join(anOffer());
  const { saveNode } = store;
  store.saveNode = async () => {
    throw new ComputeError("UNAVAILABLE");
  };
  a.fleet.leave(node, link);
  await settle();
  expect((await store.node(node.id))!.status).toBe("online");
  store.saveNode = saveNode;
  await live(3_000, a);
  expect((await store.node(node.id))!.status).toBe("suspect");
});

test("finds tasks that wait at another coordinator", async () => {
  const { store, all } = await aNetwork("a", "b");
  const [a, b] = all as [TestCoordinator, TestCoordinator];
  const task = await a.submit(ALICE);
  expect(a.scheduler.waitingReason(task)).toBe("no node is online");
  await b.join(anOffer());
  await live(2_000, a, b);
  expect(await store.task(task.id)).toMatchObject({ state: "running", owner: b.peers.self });
  // With a node that is idle there, a word is enough.
  const second = await a.submit(ALICE);
  await settle();
  expect(await store.task(second.id)).toMatchObject({ state: "running", owner: b.peers.self });
});

test("cancels a task at any coordinator, and its node is told", async () => {
  const { store, all } = await aNetwork("a", "b");
  const [a, b] = all as [TestCoordinator, TestCoordinator];
  const { link } = await a.join(anOffer());
  const task = await a.submit(ALICE);
  const run = a.leases.ofTask(task.id)!;
  expect((await b.scheduler.cancel(task.id)).state).toBe("cancelling");
  await settle();
  expect(link.cancelled).toEqual([{ id: run.id, reason: "REQUESTED" }]);
  await a.leases.end(run, "cancelled", "CANCELLED");
  expect(await store.task(task.id)).toMatchObject({ state: "cancelled" });
});

test("gives two requesters equal shares, though one queued a hundred times as much", async () => {
  const { store, all } = await aNetwork("a", "b");
  const [a, b] = all as [TestCoordinator, TestCoordinator];
  for (let count = 0; count < 2_000; count++) await a.submit(ALICE);
  for (let count = 0; count < 20; count++) await b.submit(BOB);
  const nodes = [await a.join(anOffer({ slots: 2 })), await b.join(anOffer({ slots: 2 }))];
  const done = { alice: 0, bob: 0 };
  while (done.bob < 20) {
    for (const [index, { node }] of nodes.entries()) {
      for (const run of [...node.assignments.values()].slice(0, 1)) {
        await all[index]!.complete(run);
        done[run.task.requester === ALICE ? "alice" : "bob"]++;
      }
    }
    await live(500, a, b);
  }
  expect(done.bob / (done.alice + done.bob)).toBeGreaterThanOrEqual(0.4);
  expect(done.alice / (done.alice + done.bob)).toBeGreaterThanOrEqual(0.4);
  expect((await store.receipts({ limit: 100 })).items.length).toBe(done.alice + done.bob);
});

test("limits the queue of one wallet, and of all wallets together", async () => {
  const { all } = await aNetwork("a");
  const [a] = all as [TestCoordinator];
  for (let count = 0; count < 2_000; count++) await a.submit(ALICE);
  await expect(a.submit(ALICE)).rejects.toMatchObject({ code: "QUEUE_FULL", message: expect.stringContaining("your") });
  for (let count = 0; count < 300; count++) await a.submit(BOB);
  await expect(a.submit(BOB)).rejects.toMatchObject({
    code: "QUEUE_FULL",
    message: expect.stringContaining("most that"),
  });
});

test("ends a lease whose answer was lost, and queues its task again", async () => {
  const { store, all } = await aNetwork("a");
  const [a] = all as [TestCoordinator];
  const { link } = await a.join(anOffer());
  const { insertTask } = store;
  store.insertTask = async (task) => {
    await insertTask.call(store, task);
    throw new Error("the answer was lost");
  };
  await expect(a.submit(ALICE)).rejects.toThrow("lost");
  store.insertTask = insertTask;
  const [stray] = (await store.tasks({ limit: 1 })).items;
  expect(stray).toMatchObject({ state: "running", owner: a.peers.self });
  expect(link.assigned).toEqual([]);
  await live(2 * LEASE_MS + 2_000, a);
  expect(link.assigned).toHaveLength(1);
  const task = (await store.task(stray!.id))!;
  expect(Object.values(task.assignments).map(({ state, reason }) => [state, reason])).toEqual([
    ["lost", "NOT_DELIVERED"],
    ["live", undefined],
  ]);
});

test("writes nothing on the basis of a lease that the store refuses, however long the refusal takes", async () => {
  const { store, all } = await aNetwork("a", "b");
  const [a, b] = all as [TestCoordinator, TestCoordinator];
  const task = await a.submit(ALICE);
  // Both want it at once; B's write takes longer than nodes have for an answer.
  const { saveTask } = store;
  let answer: () => void = () => {};
  const slow = new Promise<void>((resolve) => {
    answer = resolve;
  });
  store.saveTask = async (change, made) => {
    if (change.owner?.coordinatorId === "b") await slow;
    return saveTask.call(store, change, made);
  };
  await b.join(anOffer());
  await live(2_000, b);
  expect(b.leases.size).toBe(1);
  await a.join(anOffer());
  await live(2_000, a);
  const won = (await store.task(task.id))!;
  expect(won).toMatchObject({ state: "running", owner: a.peers.self });

  await b.clock.run(4 * HEARTBEAT_MS, 500);
  answer();
  await live(2_000, a, b);
  expect(await store.task(task.id)).toEqual(won);
  expect([a.leases.size, b.leases.size]).toEqual([1, 0]);
});
