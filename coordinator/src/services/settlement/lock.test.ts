import { pino } from "pino";
import { beforeEach, expect, test } from "vitest";
import { MemoryStore } from "../../adapters/memory/store.ts";
import type { Owner } from "../../domain/owner.ts";
import { SettlementLock } from "./lock.ts";

const A: Owner = { coordinatorId: "a", incarnation: "0x01" };
const A_AGAIN: Owner = { coordinatorId: "a", incarnation: "0x02" };
const B: Owner = { coordinatorId: "b", incarnation: "0x03" };

let store: MemoryStore;
let dead: Owner[];

beforeEach(async () => {
  store = new MemoryStore();
  await store.start();
  dead = [];
});

function lockOf(self: Owner): SettlementLock {
  const peers = { self, isAlive: (owner: Owner) => !dead.includes(owner) };
  return new SettlementLock({ store, peers, logger: pino({ level: "silent" }) });
}

test("the first to take it leads, and keeps the lead; another hears who that is", async () => {
  expect(await lockOf(A).take()).toBeNull();
  expect(await lockOf(B).take()).toEqual(A);
  expect(await lockOf(A).take()).toBeNull();
});

test("a dead leader's lock is free, also that of an earlier run of the same coordinator", async () => {
  await lockOf(A).take();
  dead = [A];
  expect(await lockOf(A_AGAIN).take()).toBeNull();
  expect(await lockOf(B).take()).toEqual(A_AGAIN);
});

test("of two that find it free one leads", async () => {
  const leaders = await Promise.all([lockOf(A).take(), lockOf(B).take()]);
  expect(leaders.filter((leader) => leader === null)).toHaveLength(1);
});

test("a released lock is free; one that another holds stays", async () => {
  await lockOf(A).take();
  await lockOf(B).release();
  expect(await lockOf(B).take()).toEqual(A);
  await lockOf(A).release();
  expect(await lockOf(B).take()).toBeNull();
});

test("a store that is away does not keep the leader from stopping", async () => {
  await lockOf(A).take();
  await store.stop();
  await expect(lockOf(A).release()).resolves.toBeUndefined();
});
