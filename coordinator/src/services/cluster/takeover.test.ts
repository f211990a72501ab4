import { anOffer } from "@proof-of-compute/tests/support/fleet";
import {
  ALICE,
  aNetwork,
  LEASE_MS,
  live,
  settle,
  type TestCoordinator,
} from "@proof-of-compute/tests/support/test-coordinator";
import { expect, test } from "vitest";
import { liveAssignment } from "../../domain/task.ts";

test("finds the node of an assignment whose takeover took longer than a lease", async () => {
  const { store, all } = await aNetwork("a", "b");
  const [a, b] = all as [TestCoordinator, TestCoordinator];
  const offer = anOffer();
  await a.join(offer);
  const task = await a.submit(ALICE);

  const { saveTask } = store;
  const { promise: slow, resolve: answer } = Promise.withResolvers<void>();
  store.saveTask = async (change, made) => {
    await slow;
    return saveTask.call(store, change, made);
  };
  await live(3 * LEASE_MS, b);
  expect((await store.task(task.id))!.owner).toEqual(a.peers.self);
  store.saveTask = saveTask;
  answer();
  await live(500, b);
  expect((await store.task(task.id))!.owner).toEqual(b.peers.self);

  const { id } = liveAssignment(task)!;
  const { node } = await b.join(offer, [id]);
  expect(b.leases.find(id, node)).toBeDefined();
  await b.complete(b.leases.find(id, node)!);
  expect((await store.task(task.id))!.state).toBe("verified");
});

test("keeps an assignment that was adopted after its node had left, for the node's next session", async () => {
  const { store, all } = await aNetwork("a", "b");
  const [a, b] = all as [TestCoordinator, TestCoordinator];
  const offer = anOffer();
  await a.join(offer);
  const task = await a.submit(ALICE);
  const { id } = liveAssignment(task)!;

  const { saveTask } = store;
  store.saveTask = async (change, made) => {
    store.saveTask = saveTask;
    const node = b.fleet.get(offer.nodeId)!;
    node.drain();
    b.fleet.leave(node, node.link!);
    return saveTask.call(store, change, made);
  };
  await expect(b.join(offer, [id])).rejects.toMatchObject({ code: "SESSION_REPLACED" });
  const { node } = await b.join(offer, [id]);
  expect(b.leases.find(id, node)).toBeDefined();
});

test("takes over right after a takeover from a coordinator that is found lost during it", async () => {
  const { store, all } = await aNetwork("a", "b");
  const [a, b] = all as [TestCoordinator, TestCoordinator];
  await a.join(anOffer());
  const task = await a.submit(ALICE);

  const { releaseNodes } = store;
  const { promise: slow, resolve: answer } = Promise.withResolvers<void>();
  store.releaseNodes = async (owners) => {
    await slow;
    return releaseNodes.call(store, owners);
  };
  void b.scheduler.takeOver();
  await live(LEASE_MS + 10_000, b);
  expect(b.peers.isAlive(a.peers.self)).toBe(false);
  expect((await store.task(task.id))!.owner).toEqual(a.peers.self);
  answer();
  await settle();
  expect((await store.task(task.id))!.owner).toEqual(b.peers.self);
});
