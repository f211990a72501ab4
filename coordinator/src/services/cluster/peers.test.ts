import { ManualClock } from "@proof-of-compute/tests/support/manual-clock";
import { pino } from "pino";
import { expect, test } from "vitest";
import { MemoryStore } from "../../adapters/memory/store.ts";
import type { Owner } from "../../domain/owner.ts";
import { Metrics } from "../metrics.ts";
import { Peers } from "./peers.ts";

const LEASE_MS = 30_000;
const owner = (coordinatorId: string, run = 1): Owner => ({ coordinatorId, incarnation: `0x0${run}` });

async function aNetwork() {
  const store = new MemoryStore();
  await store.start();
  return store;
}

/** A coordinator's view of its peers, on a clock of its own. */
async function aPeer(store: MemoryStore, self: Owner, clock = new ManualClock()) {
  const told: string[] = [];
  const peers = new Peers(
    { store, clock, logger: pino({ level: "silent" }), metrics: new Metrics(), random: () => 0.5 },
    { self, version: "0.1.0", startedAt: clock.now(), leaseMs: LEASE_MS },
  );
  await peers.start(`http://${self.coordinatorId}`);
  peers.listen({ changed: () => told.push("changed"), missed: () => told.push("missed") });
  return { peers, clock, told };
}

/** Lets all of them live on together. */
async function live(ms: number, ...peers: { clock: ManualClock }[]): Promise<void> {
  for (let passed = 0; passed < ms; passed += 1_000) for (const { clock } of peers) await clock.run(1_000);
}

test("knows the live coordinators", async () => {
  const store = await aNetwork();
  const a = await aPeer(store, owner("a"));
  const b = await aPeer(store, owner("b"));
  await live(60_000, a, b);
  expect(a.peers.isAlive(owner("b"))).toBe(true);
  expect(a.peers.addressOf(owner("b"))).toBe("http://b");
  expect(a.peers.addressOf(owner("a"))).toBeUndefined();
  expect(b.peers.alive()).toMatchObject([owner("b"), owner("a")]);
  expect(a.told).toEqual(["changed"]);
});

test("loses a coordinator without a sign of life for a lease time, whatever the wall clocks say", async () => {
  const store = await aNetwork();
  const a = await aPeer(store, owner("a"));
  const b = await aPeer(store, owner("b"));
  await live(10_000, a, b);
  a.clock.jump(86_400_000);
  await live(20_000, a);
  expect(a.peers.isAlive(owner("b"))).toBe(true);
  await live(20_000, a);
  expect(a.peers.isAlive(owner("b"))).toBe(false);
  expect(a.told).toEqual(["changed", "changed"]);
  // It was only paused.
  await live(10_000, b, a);
  expect(a.peers.isAlive(owner("b"))).toBe(true);
});

test("tells a coordinator that was paused longer than a lease that it was missed", async () => {
  const store = await aNetwork();
  const { clock, told } = await aPeer(store, owner("a"));
  await live(10_000, { clock });
  clock.advance(LEASE_MS + 10_000);
  await live(10_000, { clock });
  expect(told).toContain("missed");
});

test("tells it even when the look after its next sign of life fails", async () => {
  const store = await aNetwork();
  const { clock, told } = await aPeer(store, owner("a"));
  await live(10_000, { clock });
  await store.stop();
  await live(LEASE_MS + 10_000, { clock });
  await store.start();
  const { coordinators } = store;
  store.coordinators = async () => {
    store.coordinators = coordinators;
    throw new Error("the answer was lost");
  };
  await live(20_000, { clock });
  expect(told).toEqual(["missed"]);
});

test("tells that a coordinator was lost at once, whoever looked", async () => {
  const store = await aNetwork();
  const a = await aPeer(store, owner("a"));
  const b = await aPeer(store, owner("b"));
  await live(10_000, a, b);
  while (a.peers.isAlive(owner("b"))) {
    a.clock.advance(1);
    await a.peers.look();
  }
  expect(a.told).toEqual(["changed", "changed"]);
});

test("loses nobody because the observer was paused or its store was away", async () => {
  const store = await aNetwork();
  const a = await aPeer(store, owner("a"));
  const b = await aPeer(store, owner("b"));
  await live(10_000, a, b);
  await store.stop();
  await live(600_000, a, b);
  await store.start();
  await live(10_000, a, b);
  expect([a.peers.isAlive(owner("b")), b.peers.isAlive(owner("a"))]).toEqual([true, true]);
  expect(a.told.filter((word) => word === "changed")).toHaveLength(1);
});

test("loses an earlier run when the next one starts, and a stopped coordinator at once", async () => {
  const store = await aNetwork();
  const a = await aPeer(store, owner("a"));
  const b = await aPeer(store, owner("b", 1));
  await live(6_000, a, b);
  const again = await aPeer(store, owner("b", 2));
  await live(6_000, a);
  expect([a.peers.isAlive(owner("b", 1)), a.peers.isAlive(owner("b", 2))]).toEqual([false, true]);
  await again.peers.stop();
  await live(6_000, a);
  expect(a.peers.others()).toEqual([]);
});

test("ends the first of two processes with one name", async () => {
  const store = await aNetwork();
  const first = await aPeer(store, owner("same", 1));
  const second = await aPeer(store, owner("same", 2));
  await live(20_000, second, first);
  expect((await first.peers.replaced).message).toContain("COORDINATOR_ID same");
  expect(first.clock.pending).toBe(0);
  expect(await store.coordinators()).toMatchObject([owner("same", 2)]);
});

test("registers again when the store has forgotten it", async () => {
  const store = await aNetwork();
  const a = await aPeer(store, owner("a"));
  await store.deregister(owner("a"));
  await live(10_000, a);
  expect(await store.coordinators()).toMatchObject([{ ...owner("a"), address: "http://a" }]);
});
