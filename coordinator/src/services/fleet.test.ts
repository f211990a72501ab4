import { randomBytes } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { toHex } from "@proof-of-compute/proto";
import { pino } from "pino";
import { afterEach, beforeEach, expect, test } from "vitest";
import { ManualClock } from "../../../tests/support/manual-clock.ts";
import { SqliteStore } from "../adapters/sqlite/store.ts";
import { Metrics } from "../metrics.ts";
import { Fleet } from "./fleet.ts";
import type { NodeLink, Offer } from "./live-node.ts";

const LEASE_MS = 30_000;
const logger = pino({ level: "silent" });
let directory: string;
let store: SqliteStore;
let clock: ManualClock;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "fleet-"));
  store = new SqliteStore({ logger }, { path: join(directory, "store.sqlite") });
  await store.start();
  clock = new ManualClock();
});
afterEach(async () => {
  await store.stop();
  await rm(directory, { recursive: true, force: true });
});

const offer = (): Offer => ({
  nodeId: toHex(randomBytes(32)),
  wallet: "0x5FbDB2315678afecb367f032d93F642f64180aa3",
  version: "0.1.0",
  kinds: ["matmul"],
  slots: 4,
  hardware: { cpuModel: "test", cpuCores: 4, memoryBytes: 2 ** 30, platform: "linux-x64" },
  confirmed: false,
  runningAssignmentIds: [],
});

const link = (): NodeLink => ({
  sessionId: toHex(randomBytes(16)),
  assign: () => {},
  cancel: () => {},
  ack: () => {},
  reconnect: () => {},
  close: () => {},
});

function newFleet(): { fleet: Fleet; rooms: () => number } {
  const fleet = new Fleet(
    { store, clock, logger, metrics: new Metrics(), random: () => 0 },
    { coordinatorId: "test", heartbeatMs: 5_000, leaseMs: LEASE_MS, maxNodes: 10 },
  );
  let rooms = 0;
  fleet.start({ room: () => rooms++, joined: () => {}, offline: () => {} });
  return { fleet, rooms: () => rooms };
}

test("nodes that an earlier process left online become offline unless they come back", async () => {
  const [stays, leaves] = [offer(), offer()];
  const before = newFleet().fleet;
  for (const each of [stays, leaves]) before.announce(await before.join(each, link()));
  const lastSeen = clock.now();
  await before.stop();

  clock.advance(60_000);
  const { fleet } = newFleet();
  await fleet.recover();
  expect(fleet.counts()).toEqual({ online: 0, suspect: 2 });
  expect(await store.node(leaves.nodeId)).toMatchObject({ status: "suspect", lastSeen });

  const back = await fleet.join(stays, link());
  fleet.announce(back);
  for (let passed = 0; passed < LEASE_MS + 5_000; passed += 2_500) {
    await clock.run(2_500);
    fleet.heard(back);
  }
  await fleet.stop();
  expect(fleet.counts()).toEqual({ online: 1, suspect: 0 });
  expect(await store.node(leaves.nodeId)).toMatchObject({ status: "offline", lastSeen });
  expect(await store.node(stays.nodeId)).toMatchObject({ status: "online" });
});

test("a node has no room before its session was announced", async () => {
  const { fleet, rooms } = newFleet();
  const node = await fleet.join(offer(), link());
  await clock.run(5_000);
  expect([node.room, rooms(), fleet.pick(() => true, new Set())]).toEqual([0, 0, undefined]);
  fleet.announce(node);
  expect([node.room, rooms(), fleet.pick(() => true, new Set())]).toEqual([1, 1, node]);
  // A second session of the same node starts without room as well.
  await fleet.join(node.offer, link());
  expect(node.room).toBe(0);
  await fleet.stop();
});

test("a node that said that it leaves is offline at once, one that was lost is waited for", async () => {
  const { fleet } = newFleet();
  const [leaves, lost] = [offer(), offer()];
  for (const each of [leaves, lost]) {
    const own = link();
    const node = await fleet.join(each, own);
    node.draining = each === leaves;
    fleet.leave(node, own);
  }
  await fleet.stop();
  expect(await store.node(leaves.nodeId)).toMatchObject({ status: "offline" });
  expect(await store.node(lost.nodeId)).toMatchObject({ status: "suspect" });
});
