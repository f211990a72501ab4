import { aLink, anOffer, begin } from "@proof-of-compute/tests/support/fleet";
import { ManualClock } from "@proof-of-compute/tests/support/manual-clock";
import { pino } from "pino";
import { beforeEach, expect, test } from "vitest";
import { MemoryStore } from "../../adapters/memory/store.ts";
import type { Owner } from "../../domain/owner.ts";
import { Metrics } from "../metrics.ts";
import { Fleet } from "./fleet.ts";
import type { Offer } from "./offer.ts";

const LEASE_MS = 30_000;
const SELF = { coordinatorId: "test", incarnation: "0x01" } as const;
const logger = pino({ level: "silent" });
let store: MemoryStore;
let clock: ManualClock;
beforeEach(async () => {
  store = new MemoryStore();
  await store.start();
  clock = new ManualClock();
});

function newFleet(self: Owner = SELF): { fleet: Fleet; rooms: () => number } {
  const fleet = new Fleet(
    { store, clock, logger, metrics: new Metrics(), random: () => 0 },
    { self, heartbeatMs: 5_000, leaseMs: LEASE_MS, maxNodes: 10 },
  );
  let rooms = 0;
  fleet.start({ onCapacity: () => rooms++, onOffline: () => {} });
  return { fleet, rooms: () => rooms };
}

/** A node whose session is open. */
async function open(fleet: Fleet, offer: Offer): Promise<void> {
  (await fleet.join(offer, aLink())).welcome();
}

/** A node that may be given a task of any requester. */
const found = (fleet: Fleet) => fleet.find({ kind: "echo", tried: new Set(), fits: () => true });

test("counts nodes that an earlier run left online as suspect until they come back, and as offline if they do not", async () => {
  const [stays, leaves] = [anOffer(), anOffer()];
  const before = newFleet().fleet;
  for (const each of [stays, leaves]) await open(before, each);
  const lastSeen = clock.now();
  await before.stop();

  clock.advance(60_000);
  const { fleet } = newFleet({ ...SELF, incarnation: "0x02" });
  await fleet.recover();
  expect(await store.node(leaves.nodeId)).toMatchObject({ status: "suspect", lastSeen });
  await open(fleet, stays);
  await store.releaseNodes([{ ...SELF, incarnation: "0x02" }]);
  await fleet.stop();
  expect(fleet.counts()).toEqual({ online: 1, suspect: 0 });
  expect(await store.node(leaves.nodeId)).toMatchObject({ status: "offline", lastSeen });
  expect(await store.node(stays.nodeId)).toMatchObject({ status: "online" });
});

test("stores the nodes of an earlier run together, not one commit after the other", async () => {
  const before = newFleet().fleet;
  const offers = Array.from({ length: 10 }, () => anOffer());
  for (const offer of offers) await open(before, offer);
  await before.stop();
  const { saveNode } = store;
  let asked = 0;
  let most = 0;
  store.saveNode = async (node) => {
    most = Math.max(most, ++asked);
    return saveNode.call(store, node).finally(() => asked--);
  };
  await newFleet({ ...SELF, incarnation: "0x02" }).fleet.recover();
  expect(most).toBe(offers.length);
});

test("gives a node no work before it is welcomed", async () => {
  const { fleet, rooms } = newFleet();
  const node = await fleet.join(anOffer(), aLink());
  await clock.run(5_000);
  expect([node.capacity, rooms(), found(fleet)]).toEqual([0, 0, undefined]);
  node.welcome();
  expect([node.capacity, rooms(), found(fleet)]).toEqual([1, 1, node]);
  // A second session of the same node starts without room as well.
  await fleet.join(node.offer, aLink());
  expect(node.capacity).toBe(0);
  await fleet.stop();
});

test("counts a draining node as offline as soon as it leaves, and waits for one that was lost", async () => {
  const { fleet } = newFleet();
  const [leaves, lost] = [anOffer(), anOffer()];
  for (const each of [leaves, lost]) {
    const own = aLink();
    const node = await fleet.join(each, own);
    if (each === leaves) node.drain();
    fleet.leave(node, own);
  }
  await fleet.stop();
  expect(await store.node(leaves.nodeId)).toMatchObject({ status: "offline" });
  expect(await store.node(lost.nodeId)).toMatchObject({ status: "suspect" });
});

test("leaves a node to the coordinator that holds its newer session", async () => {
  const { fleet } = newFleet();
  const offer = anOffer();
  const link = aLink();
  const node = await fleet.join(offer, link);
  node.welcome();
  const other = { coordinatorId: "other", incarnation: "0x02" } as const;
  await store.joinNode(node.toNode(other));

  await clock.run(2_500);
  await fleet.stop();
  expect(link.closed).toBe(true);
  expect(node.link).toBeNull();
  expect(await store.node(node.id)).toMatchObject({ status: "online", owner: other });
});

test("pauses a failing node, twice as long each time, until one of its results is right", async () => {
  const { fleet } = newFleet();
  const node = await fleet.join(anOffer(), aLink());
  node.welcome();
  const pause = () => node.pausedUntil! - clock.monotonic();
  for (const seconds of [2, 4, 8]) {
    fleet.blame(node, "failed");
    expect([pause(), found(fleet)]).toEqual([seconds * 1_000, undefined]);
  }
  fleet.credit(node);
  fleet.blame(node, "failed");
  expect(pause()).toBe(2_000);
  // A lost lease is no word of its own: the node may not have noticed.
  fleet.blame(node, "lost");
  expect([pause(), node.earned]).toEqual([2_000, { cap: 1, valid: 1, faults: 5 }]);
  await fleet.stop();
});

test("counts only sessions and nodes with work towards its limit, however many came and went", async () => {
  const { fleet } = newFleet();
  const passBy = async () => {
    const link = aLink();
    const node = await fleet.join(anOffer(), link);
    fleet.leave(node, link);
    return node;
  };
  const gone = await passBy();
  for (let i = 0; i < 19; i++) await passBy();
  for (let i = 0; i < 9; i++) await fleet.join(anOffer(), aLink());
  const works = await passBy();
  begin(works);
  await expect(fleet.join(anOffer(), aLink())).rejects.toMatchObject({ code: "RATE_LIMITED" });
  await expect(fleet.join(gone.offer, aLink())).rejects.toMatchObject({ code: "RATE_LIMITED" });
  expect(await fleet.join(works.offer, aLink())).toBe(works);
  await fleet.stop();
});
