import type { Address } from "@proof-of-compute/proto";
import { anOffer } from "@proof-of-compute/tests/support/fleet";
import { ALICE, aNetwork, live, settle, type TestCoordinator } from "@proof-of-compute/tests/support/test-coordinator";
import { expect, test, vi } from "vitest";

/** Can do no task before its deadline, by its own word. */
const SLOW = { unitsPerSecond: 0.001 };

test("of tasks that no node can do the nodes are searched for one, whoever wants them", async () => {
  const { all } = await aNetwork("a");
  const [a] = all as [TestCoordinator];
  for (let count = 0; count < 100; count++) await a.submit(ALICE);
  for (let count = 10; count < 100; count++) await a.submit(`0x${count}`.padEnd(42, "0") as Address);
  const pick = vi.spyOn(a.fleet, "find");
  await a.join(anOffer(SLOW));
  expect(pick).toHaveBeenCalledTimes(1);
  // A faster one that comes is found room for at once.
  const { link } = await a.join(anOffer());
  await live(500, a);
  expect(link.assigned).toHaveLength(4);
});

test("while nothing that waits fits a node, the queue is looked at a quarter of the time at most", async () => {
  const { store, all } = await aNetwork("a");
  const [a] = all as [TestCoordinator];
  await a.submit(ALICE);
  const { queuedTasks } = store;
  const tookMs = 40;
  let reading = 0;
  store.queuedTasks = async (query) => {
    reading += tookMs;
    a.clock.advance(tookMs);
    return queuedTasks.call(store, query);
  };
  await a.join(anOffer(SLOW));
  const from = a.clock.monotonic();
  reading = 0;
  while (a.clock.monotonic() < from + 10_000) {
    a.scheduler.onCapacity();
    await settle();
    a.clock.advance(10);
  }
  const share = reading / (a.clock.monotonic() - from);
  expect(share).toBeGreaterThan(0.1);
  expect(share).toBeLessThanOrEqual(0.25);
  const { link } = await a.join(anOffer());
  await live(500, a);
  expect(link.assigned).toHaveLength(1);
});
