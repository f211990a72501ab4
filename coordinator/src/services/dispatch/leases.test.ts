import type { Hex } from "@proof-of-compute/proto";
import { KindRegistry } from "@proof-of-compute/proto/kinds";
import { aReceipt, aTask, HERE, THERE } from "@proof-of-compute/tests/conformance/fixtures";
import { echo } from "@proof-of-compute/tests/support/echo/coordinator";
import { aLiveNode, anOffer } from "@proof-of-compute/tests/support/fleet";
import { ManualClock } from "@proof-of-compute/tests/support/manual-clock";
import { BOB, settle } from "@proof-of-compute/tests/support/test-coordinator";
import { pino } from "pino";
import { beforeEach, describe, expect, it, vi } from "vitest";
import { MemoryStore } from "../../adapters/memory/store.ts";
import { assign, cancel, type Task, takeOver } from "../../domain/task.ts";
import type { CoordinatorKind } from "../../kinds/index.ts";
import { newId } from "../../util/ids.ts";
import type { ActiveAssignment } from "../fleet/active-assignment.ts";
import type { LiveNode, NodeFault } from "../fleet/live-node.ts";
import { Metrics } from "../metrics.ts";
import { UploadBudget } from "../results/uploads.ts";
import { Leases } from "./leases.ts";

const HEARTBEAT_MS = 5_000;
const LEASE_MS = 30_000;
const WORK = { kind: echo as CoordinatorKind, spec: { input: Uint8Array.of(1) } };

let store: MemoryStore;
let clock: ManualClock;
let leases: Leases;
/** Faults and credits, in order. */
let standing: (NodeFault | "credit")[];
let changes: string[];
let published: Hex[];

beforeEach(async () => {
  store = new MemoryStore();
  await store.start();
  clock = new ManualClock();
  standing = [];
  changes = [];
  published = [];
  leases = new Leases(
    {
      ...{ store, clock, kinds: new KindRegistry([echo as CoordinatorKind]), metrics: new Metrics() },
      fleet: { credit: () => standing.push("credit"), blame: (_, fault) => standing.push(fault) },
      events: { publish: (id) => published.push(id) },
      logger: pino({ level: "silent" }),
      random: () => 0,
    },
    { self: HERE, heartbeatMs: HEARTBEAT_MS, leaseMs: LEASE_MS, maxAttempts: 2 },
  );
  leases.start((before, after) => changes.push(`${before.state} ${after.state}`));
});

/** A stored task with a live assignment, which the node has been sent. */
async function aLease(node: LiveNode): Promise<ActiveAssignment> {
  const { assignment, task } = await aReservedLease(node);
  leases.push(assignment, task);
  return assignment;
}

async function aReservedLease(node: LiveNode): Promise<{ assignment: ActiveAssignment; task: Task }> {
  const queued = aTask(1, { id: newId(), kind: "echo" });
  const attempt = { id: newId(), nodeId: node.id, wallet: node.offer.wallet, assignedAt: clock.now() };
  const task = { ...assign(queued, attempt, HERE), version: 1 };
  const assignment = leases.open(task, WORK, node, "reserved");
  await store.insertTask(task);
  return { assignment, task };
}

async function aRunningLease(node: LiveNode): Promise<ActiveAssignment> {
  const assignment = await aLease(node);
  leases.advance(assignment, 0);
  return assignment;
}

async function stored({ id, task }: ActiveAssignment) {
  const current = (await store.task(task.id))!;
  return { state: current.state, assignment: current.assignments[id]! };
}

/** Lets time pass in steps of a heartbeat. */
async function pass(ms: number): Promise<void> {
  for (let passed = 0; passed < ms; passed += HEARTBEAT_MS / 2) {
    await clock.run(HEARTBEAT_MS / 2);
    leases.withdrawSilent();
  }
  await settle();
}

describe("a lease", () => {
  it("takes the node's capacity before it is written, and is sent once it is stored", async () => {
    const node = aLiveNode(anOffer({ slots: 1 }));
    const { assignment, task } = await aReservedLease(node);
    expect([node.capacity, node.link.assigned, assignment.phase]).toEqual([0, [], "reserved"]);
    leases.push(assignment, task);
    expect([node.link.assigned, assignment.phase]).toEqual([[assignment.id], "sent"]);
    expect([leases.find(assignment.id, node), leases.ofTask(task.id)]).toEqual([assignment, assignment]);
    expect(leases.find(assignment.id, aLiveNode())).toBeUndefined();
  });

  it("that was withdrawn while it was being stored ends, and no node hears of it", async () => {
    const node = aLiveNode();
    const { assignment, task } = await aReservedLease(node);
    leases.withdraw(assignment, "NODE_OFFLINE");
    leases.push(assignment, task);
    await settle();
    expect(await stored(assignment)).toMatchObject({ state: "queued", assignment: { reason: "NOT_DELIVERED" } });
    expect([node.link.assigned, node.capacity, standing]).toEqual([[], 4, []]);
  });

  it("ends with a receipt in one write, and its node is credited", async () => {
    const node = aLiveNode(anOffer({ slots: 1 }));
    const assignment = await aRunningLease(node);
    assignment.toChecking();
    const receipt = aReceipt(assignment.task, assignment.id, { nodeId: node.id });
    await leases.complete(assignment, receipt, Uint8Array.of(1));
    expect((await stored(assignment)).state).toBe("verified");
    expect(await store.receipt(assignment.id)).toEqual(receipt);
    expect([standing, changes, leases.size, node.capacity]).toEqual([["credit"], ["running verified"], 0, 1]);
    await expect(leases.complete(assignment, receipt, undefined)).rejects.toMatchObject({ code: "CONFLICT" });
  });
});

describe("progress", () => {
  it("accepts an assignment, never falls, and is told once", async () => {
    const node = aLiveNode();
    const assignment = await aLease(node);
    for (const fraction of [0, 0.5, 0.25, 0.5, 7]) leases.advance(assignment, fraction);
    expect([assignment.phase, assignment.progress, published.length]).toEqual(["running", 1, 3]);
  });
});

describe("an end without a receipt", () => {
  it("queues the task again after a wait that grows, and blames the node where it is to blame", async () => {
    const node = aLiveNode();
    const assignment = await aRunningLease(node);
    expect(await leases.end(assignment, "lost", "INTERNAL", "failed")).toBe(true);
    const task = (await store.task(assignment.task.id))!;
    expect(task).toMatchObject({ state: "queued", notBefore: clock.now() + 125 });
    expect([standing, leases.size, node.capacity]).toEqual([["failed"], 0, 4]);
  });

  it("is written once, whoever asks for it", async () => {
    const assignment = await aRunningLease(aLiveNode());
    const ends = [leases.end(assignment, "lost", "ONE", "lost"), leases.end(assignment, "lost", "OTHER", "lost")];
    expect(await Promise.all(ends)).toEqual([true, false]);
    expect((await stored(assignment)).assignment.reason).toBe("ONE");
    expect(standing).toEqual(["lost"]);
  });

  it("is written as soon as the store takes it, however long that is", async () => {
    const assignment = await aRunningLease(aLiveNode());
    await store.stop();
    const ending = leases.end(assignment, "lost", "NODE_OFFLINE", "lost");
    await clock.run(60_000, 1_000);
    expect([leases.get(assignment.id), standing]).toEqual([assignment, []]);
    await store.start();
    await clock.run(1_000);
    expect(await ending).toBe(true);
    expect((await stored(assignment)).assignment.reason).toBe("NODE_OFFLINE");
  });

  it("is given up when the coordinator stops first: whoever takes the task over ends it", async () => {
    const assignment = await aRunningLease(aLiveNode());
    await store.stop();
    const ending = leases.end(assignment, "lost", "NODE_OFFLINE", "lost");
    await clock.run(5_000, 1_000);
    leases.stop();
    expect(await ending).toBe(false);
    expect([clock.pending, standing]).toEqual([0, []]);
    await store.start();
    await clock.run(60_000, 1_000);
    expect((await stored(assignment)).assignment.state).toBe("live");
  });

  it("of an assignment that another coordinator took over is left to that one, and nobody is blamed", async () => {
    const assignment = await aRunningLease(aLiveNode());
    await store.saveTask(takeOver(assignment.task, THERE));
    expect(await leases.end(assignment, "lost", "NODE_OFFLINE", "lost")).toBe(false);
    expect([standing, leases.size]).toEqual([[], 0]);
    expect(await store.task(assignment.task.id)).toMatchObject({ state: "running", owner: THERE });
  });

  it.each([
    [true, "failed", []],
    [false, "lost", ["failed"]],
  ] as const)("by the node's word that the task failed counts as the task's: %s", async (canFail, state, blamed) => {
    const kind = { ...WORK.kind, protocol: { ...WORK.kind.protocol, canFail } };
    const node = aLiveNode();
    const { assignment: known, task } = await aReservedLease(node);
    leases.forget(known);
    const assignment = leases.open(task, { ...WORK, kind }, node, "running");
    leases.fail(assignment, "TASK", "");
    await settle();
    expect((await stored(assignment)).assignment).toMatchObject({ state, reason: "TASK" });
    expect(standing).toEqual(blamed);
  });
});

describe("a heartbeat", () => {
  it("that misses an assignment twice in a row takes it back; once is not enough", async () => {
    const node = aLiveNode();
    const [kept, lost] = [await aRunningLease(node), await aRunningLease(node)];
    const beat = (...listed: ActiveAssignment[]) => leases.reconcile(node, new Set(listed.map(({ id }) => id)));
    beat(kept);
    beat(kept, lost);
    beat(kept);
    await settle();
    expect(node.link.cancelled).toEqual([]);
    beat(kept);
    await settle();
    expect(node.link.cancelled).toEqual([{ id: lost.id, reason: "LEASE_LOST" }]);
    expect((await stored(lost)).assignment).toMatchObject({ state: "lost", reason: "MISSING_AT_NODE" });
    expect([standing, leases.size]).toEqual([["lost"], 1]);
  });

  it("misses nothing of what was only sent, nor of what is being checked", async () => {
    const node = aLiveNode();
    await aLease(node);
    (await aRunningLease(node)).toChecking();
    for (let beats = 0; beats < 4; beats++) leases.reconcile(node, new Set());
    expect([node.link.cancelled, leases.size]).toEqual([[], 2]);
  });

  it("that claims unknown assignments twice in a row is answered with cancels, 256 at once", async () => {
    const node = aLiveNode();
    const invented = Array.from({ length: 300 }, () => newId());
    const beat = async (ids: readonly Hex[]) => {
      leases.reconcile(node, new Set(ids));
      await settle();
    };
    await beat(invented);
    await beat([]);
    await beat(invented);
    expect(node.link.cancelled).toEqual([]);
    await beat(invented);
    expect(node.link.cancelled.map(({ id }) => id)).toEqual(invented.slice(0, 256));
  });

  it("does not cancel what was assigned while its claims were looked up", async () => {
    const node = aLiveNode();
    const { assignment, task } = await aReservedLease(node);
    leases.forget(assignment);
    const claim = new Set([assignment.id]);
    leases.reconcile(node, claim);
    leases.reconcile(node, claim);
    leases.open(task, WORK, node, "running");
    await settle();
    expect(node.link.cancelled).toEqual([]);
  });

  it("is answered with the cancel of a task again, until the node says that it stopped", async () => {
    const node = aLiveNode();
    const assignment = await aRunningLease(node);
    await leases.update(assignment.task.id, (task) => cancel(task, clock.now()));
    for (let beats = 0; beats < 2; beats++) leases.reconcile(node, new Set([assignment.id]));
    expect(node.link.cancelled).toEqual(Array(2).fill({ id: assignment.id, reason: "REQUESTED" }));
    leases.fail(assignment, "CANCELLED", "");
    await settle();
    expect((await stored(assignment)).state).toBe("cancelled");
  });
});

describe("silence", () => {
  it("about an assignment for two heartbeats takes it back", async () => {
    const node = aLiveNode();
    const assignment = await aLease(node);
    await pass(2 * HEARTBEAT_MS);
    expect(node.link.cancelled).toEqual([]);
    await pass(HEARTBEAT_MS);
    expect((await stored(assignment)).assignment.reason).toBe("NOT_ANSWERED");
    expect(standing).toEqual(["lost"]);
  });

  it("of the coordinator itself does not count", async () => {
    const node = aLiveNode();
    await aLease(node);
    await pass(HEARTBEAT_MS);
    clock.stall(LEASE_MS);
    leases.withdrawSilent();
    await settle();
    expect([node.link.cancelled, leases.size]).toEqual([[], 1]);
  });

  it("within an upload for longer than a lease takes the assignment back, and its memory is free", async () => {
    const budget = new UploadBudget({ clock }, { maxBytes: 10 });
    const assignment = await aRunningLease(aLiveNode());
    assignment.receive(budget.open(10));
    await pass(LEASE_MS);
    expect(leases.size).toBe(1);
    await pass(HEARTBEAT_MS);
    expect((await stored(assignment)).assignment.reason).toBe("UPLOAD_STALLED");
    await budget.open(10).stored;
  });
});

describe("a new session of a node", () => {
  it("keeps what it names, and takes the rest back", async () => {
    const node = aLiveNode();
    const [named, forgotten, checked] = [await aLease(node), await aRunningLease(node), await aRunningLease(node)];
    checked.toChecking();
    leases.onJoined(node, [named.id]);
    await settle();
    expect([named.phase, checked.phase]).toEqual(["running", "checking"]);
    expect((await stored(forgotten)).assignment.reason).toBe("NOT_RESUMED");
    expect(leases.size).toBe(2);
  });

  it("of another wallet keeps nothing", async () => {
    const node = aLiveNode();
    const assignment = await aRunningLease(node);
    node.connect(anOffer({ nodeId: node.id, wallet: BOB }), node.link, null);
    leases.onJoined(node, [assignment.id]);
    await settle();
    expect((await stored(assignment)).assignment.reason).toBe("WALLET_CHANGED");
  });
});

it("a node that is lost loses its leases, but for results that are being checked", async () => {
  const node = aLiveNode();
  const [runs, checked] = [await aRunningLease(node), await aRunningLease(node)];
  checked.toChecking();
  leases.onOffline(node);
  await settle();
  expect((await stored(runs)).assignment.reason).toBe("NODE_OFFLINE");
  expect((await stored(checked)).assignment.state).toBe("live");
});

describe("a change of a task", () => {
  it("is made again on what another write left", async () => {
    const assignment = await aRunningLease(aLiveNode());
    const { id } = assignment.task;
    await store.saveTask(takeOver(assignment.task, THERE));
    const task = await leases.update(id, (current) => cancel(current, clock.now()));
    expect(task).toMatchObject({ state: "cancelling", owner: THERE, version: 3 });
    expect(assignment.task).toBe(task);
  });

  it("is given up when others change the task all the time", async () => {
    const assignment = await aRunningLease(aLiveNode());
    const save = vi.spyOn(store, "saveTask").mockResolvedValue(false);
    const { id } = assignment.task;
    await expect(leases.update(id, (task) => takeOver(task, THERE))).rejects.toMatchObject({ code: "CONFLICT" });
    expect(save.mock.calls.length).toBeGreaterThan(1);
  });

  it("of a task that is not there is refused", async () => {
    await expect(leases.update(newId(), (task) => task)).rejects.toMatchObject({ code: "NOT_FOUND" });
  });
});
