import { anOffer } from "@proof-of-compute/tests/support/fleet";
import {
  ALICE,
  aNetwork,
  HEARTBEAT_MS,
  LEASE_MS,
  live,
  settle,
  type TestCoordinator,
} from "@proof-of-compute/tests/support/test-coordinator";
import { expect, test } from "vitest";
import { liveAssignment } from "../../domain/task.ts";

test("a pause shorter than a lease costs no work: what came meanwhile is read before anybody is blamed", async () => {
  const { store, all } = await aNetwork("a");
  const [a] = all as [TestCoordinator];
  const { node, link } = await a.join(anOffer());
  const task = await a.submit(ALICE);
  const { id } = liveAssignment(task)!;
  expect(a.leases.find(id, node)!.phase).toBe("sent");

  // The process stood still: its timers are late, and run before its sockets are read.
  a.clock.stall(LEASE_MS - 1_000);
  await settle();
  expect(link.cancelled).toEqual([]);
  expect(await store.task(task.id)).toMatchObject({ state: "running" });
  expect(node.earned.faults).toBe(0);
});

test("an assignment that its node does not answer goes to another after two heartbeats", async () => {
  const { all } = await aNetwork("a");
  const [a] = all as [TestCoordinator];
  const { node, link } = await a.join(anOffer());
  const task = await a.submit(ALICE);
  await a.clock.run(3 * HEARTBEAT_MS, 500);
  await live(1_000, a);
  expect(link.cancelled).toEqual([{ id: liveAssignment(task)!.id, reason: "LEASE_LOST" }]);
  expect(node.earned.faults).toBe(1);
});
