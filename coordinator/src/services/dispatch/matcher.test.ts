import type { Address, Hex } from "@proof-of-compute/proto";
import { KindRegistry } from "@proof-of-compute/proto/kinds";
import { TaskSpec } from "@proof-of-compute/proto/task";
import { HERE, THERE } from "@proof-of-compute/tests/conformance/fixtures";
import { echo } from "@proof-of-compute/tests/support/echo/coordinator";
import { aLiveNode, anOffer } from "@proof-of-compute/tests/support/fleet";
import { ManualClock } from "@proof-of-compute/tests/support/manual-clock";
import { ALICE, BOB, settle } from "@proof-of-compute/tests/support/test-coordinator";
import { pino } from "pino";
import { describe, expect, it, vi } from "vitest";
import { MemoryStore } from "../../adapters/memory/store.ts";
import { ComputeError } from "../../domain/errors.ts";
import { assign, type Task } from "../../domain/task.ts";
import type { CoordinatorKind } from "../../kinds/index.ts";
import { newId } from "../../util/ids.ts";
import type { ActiveAssignment } from "../fleet/active-assignment.ts";
import { CapacityIndex, type NodeQuery } from "../fleet/capacity-index.ts";
import type { LiveNode } from "../fleet/live-node.ts";
import type { Offer } from "../fleet/offer.ts";
import { Matcher } from "./matcher.ts";

const DEADLINE_MS = 3_600_000;
/** Can do no task before its deadline, by its own word. */
const SLOW = { unitsPerSecond: 0.001 };
/** Another kind, whose tasks look like echoes. */
const wasm: CoordinatorKind = { ...(echo as CoordinatorKind), name: "wasm" };
/** A kind whose tasks are tiny. */
const tiny: CoordinatorKind = {
  ...(echo as CoordinatorKind),
  name: "inference",
  protocol: { ...(echo as CoordinatorKind).protocol, isTiny: () => true },
};

/** A matcher over a store and nodes, whose leases are followed by the test. */
async function aMatcher({ allowSelfTasks = true, peers = [] as string[] } = {}) {
  const store = new MemoryStore();
  await store.start();
  const clock = new ManualClock();
  const index = new CapacityIndex();
  const kinds = new KindRegistry([echo as CoordinatorKind, wasm, tiny]);
  const sent: ActiveAssignment[] = [];
  const nudged: string[] = [];
  const looks = { searches: 0, nodes: 0 };
  // Two probes in a row look at different nodes.
  let draws = 0;
  const random = () => (draws++ % 2 ? 0.99 : 0);
  const fleet = {
    freeCapacity: (limit: number) => index.free(limit),
    find: (query: NodeQuery) => {
      looks.searches++;
      const fits = (node: LiveNode) => {
        looks.nodes++;
        return query.fits(node);
      };
      return index.find({ ...query, fits }, random);
    },
  };
  const leases = {
    open: (task: Task, work: ActiveAssignment["work"], node: LiveNode) =>
      node.begin({ task, work, phase: "reserved", now: 0 }),
    push: (assignment: ActiveAssignment) => void sent.push(assignment),
    forget: (assignment: ActiveAssignment) => assignment.end(),
  };
  const matcher = new Matcher(
    {
      ...{ store, clock, fleet, leases, kinds },
      events: { publish: () => {} },
      peers: { self: HERE, others: () => peers.map((address) => ({ ...THERE, address }) as never) },
      link: { nudge: (address) => nudged.push(address) },
      logger: pino({ level: "silent" }),
      random: () => 0.5,
    },
    { allowSelfTasks },
  );
  await matcher.start();

  /** A node that is online and may be given all its slots. */
  const join = (offer: Offer): LiveNode =>
    aLiveNode(offer, (changed, grew) => {
      index.update(changed);
      if (grew && changed.capacity > 0) matcher.onCapacity();
    });
  const newTask = (requester: Address = ALICE, kind: "echo" | "wasm" | "inference" = "echo"): Task => {
    const member = { $case: "echo", value: { input: new Uint8Array(100) } } as const;
    const spec = TaskSpec.encode({ ...TaskSpec.decode(new Uint8Array()), kind: member }).finish();
    const now = clock.now();
    const times = { createdAt: now, notBefore: now, deadline: now + DEADLINE_MS };
    return { id: newId(), version: 1, requester, kind, spec, state: "queued", attempts: 0, assignments: {}, ...times };
  };
  /** Stores tasks that wait. */
  const queue = async (...tasks: Task[]): Promise<void> => {
    for (const task of tasks) {
      await store.insertTask(task);
      matcher.onQueued(task);
    }
  };
  const place = (task: Task) =>
    matcher.place(task, { kind: kinds.get(task.kind)!, spec: { input: new Uint8Array(100) } });
  return { store, clock, matcher, join, newTask, queue, place, sent, nudged, looks };
}

describe("placing a new task", () => {
  it("gives it to a node that fits, and takes that node's capacity", async () => {
    const { join, newTask, place, sent } = await aMatcher();
    const node = join(anOffer({ slots: 1 }));
    const assignment = place(newTask())!;
    expect(assignment).toMatchObject({ phase: "reserved", node, task: { state: "running", version: 2, owner: HERE } });
    expect([node.capacity, place(newTask()), sent]).toEqual([0, undefined, []]);
  });

  it("puts it behind those that wait", async () => {
    const { join, newTask, place, queue } = await aMatcher();
    await queue(newTask());
    join(anOffer());
    expect(place(newTask())).toBeUndefined();
  });

  it("keeps a wallet's own nodes away from its tasks where the network says so", async () => {
    const { join, newTask, place } = await aMatcher({ allowSelfTasks: false });
    join(anOffer({ wallet: ALICE }));
    expect(place(newTask(ALICE))).toBeUndefined();
    expect(place(newTask(BOB))).toBeDefined();
  });

  it("looks at the rate and the slots of its kind alone", async () => {
    const { join, newTask, place } = await aMatcher();
    const slots = 2;
    const offers = [{ kind: "echo", slots, unitsPerSecond: 0.001 } as const, { kind: "wasm", slots: 1 } as const];
    const node = join({ ...anOffer({ slots }), offers });
    expect(place(newTask(ALICE, "echo"))).toBeUndefined();
    expect(place(newTask(ALICE, "wasm"))).toMatchObject({ node });
    expect([node.capacity, place(newTask(ALICE, "wasm"))]).toEqual([1, undefined]);
  });
});

describe("tiny tasks", () => {
  it("of one turn go to one node as far as it has slots; other tasks go to the freer node", async () => {
    const { join, newTask, place } = await aMatcher();
    const offer = () => anOffer({ slots: 3, kinds: ["wasm", "inference"] });
    const nodes = [join(offer()), join(offer())];
    const give = (kind: "wasm" | "inference") => nodes.indexOf(place(newTask(ALICE, kind))!.node);
    expect([give("inference"), give("inference"), give("inference"), give("inference")]).toEqual([0, 0, 0, 1]);
    await settle();
    const [free] = [join(offer())];
    nodes.push(free!);
    expect([give("wasm"), give("wasm")]).toEqual([2, 1]);
  });
});

describe("matching what waits", () => {
  it("searches the fleet once for a class of unplaceable tasks, whoever requested them", async () => {
    const { matcher, join, newTask, queue, looks } = await aMatcher();
    const requesters = Array.from({ length: 40 }, (_, count) => `0x${count + 10}`.padEnd(42, "0") as Address);
    await queue(...requesters.flatMap((requester) => [newTask(requester), newTask(requester)]));
    join(anOffer(SLOW));
    await settle();
    expect(looks).toMatchObject({ searches: 1 });
    expect(matcher.queue.size).toBe(80);
  });

  it("finds room at once for a node that can do it", async () => {
    const { join, newTask, queue, sent } = await aMatcher();
    await queue(...Array.from({ length: 6 }, () => newTask()));
    join(anOffer(SLOW));
    const fast = join(anOffer({ slots: 4 }));
    await vi.waitFor(() => expect(sent.map(({ node }) => node)).toEqual([fast, fast, fast, fast]));
  });

  it("looks past tasks of a kind without free slots, and searches no node for them", async () => {
    const { join, newTask, queue, sent, looks } = await aMatcher();
    await queue(...Array.from({ length: 300 }, () => newTask(ALICE, "wasm")), newTask(ALICE, "echo"));
    const node = join({
      ...anOffer({ slots: 4 }),
      offers: [
        { kind: "echo", slots: 4 },
        { kind: "wasm", slots: 1 },
      ],
    });
    await vi.waitFor(() => expect(sent).toHaveLength(2));
    await settle();
    expect(sent.map(({ task }) => task.kind)).toEqual(["wasm", "echo"]);
    // Two probes for each task that was placed.
    expect([node.capacity, looks.nodes]).toEqual([2, 4]);
  });

  it("gives requesters their turns, however long their queues", async () => {
    const { join, newTask, queue, sent } = await aMatcher();
    await queue(...Array.from({ length: 50 }, () => newTask(ALICE)), newTask(BOB), newTask(BOB));
    join(anOffer({ slots: 4 }));
    await vi.waitFor(() => expect(sent).toHaveLength(4));
    const requesters = sent.map(({ task }) => task.requester);
    expect(requesters.filter((requester) => requester === BOB)).toHaveLength(2);
  });

  it("gives a task to a node that tried it before only when no other fits", async () => {
    const { store, clock, matcher, join, newTask, sent } = await aMatcher();
    const [first, second] = [join(anOffer({ slots: 1 })), join(anOffer({ slots: 1 }))];
    const again = async (...tried: LiveNode[]) => {
      const attempts = tried.map(({ id: nodeId }) => ({
        id: newId(),
        nodeId,
        wallet: BOB,
        assignedAt: 0,
        state: "lost",
      }));
      const task = { ...newTask(), assignments: Object.fromEntries(attempts.map((attempt) => [attempt.id, attempt])) };
      await store.insertTask(task as Task);
      matcher.onTaskChanged({ ...task, state: "running" } as Task, task as Task);
      await clock.run(10);
    };
    await again(first);
    await vi.waitFor(() => expect(sent.map(({ node }) => node)).toEqual([second]));
    await again(first, second);
    await vi.waitFor(() => expect(sent.map(({ node }) => node)).toEqual([second, first]));
  });

  it("waits for a task's time", async () => {
    const { store, clock, matcher, join, newTask, sent } = await aMatcher();
    join(anOffer());
    const task = { ...newTask(), notBefore: clock.now() + 5_000 };
    await store.insertTask(task);
    matcher.onTaskChanged({ ...task, state: "running" }, task);
    await clock.run(4_900, 100);
    expect(sent).toEqual([]);
    await clock.run(200, 100);
    await vi.waitFor(() => expect(sent).toHaveLength(1));
  });

  it("sends nothing whose lease another coordinator won, and frees the capacity", async () => {
    const { store, join, newTask, queue, sent } = await aMatcher();
    const task = newTask();
    await queue(task);
    const { queuedTasks } = store;
    const attempt = { id: newId(), nodeId: "0x01" as Hex, wallet: BOB, assignedAt: 0 };
    store.queuedTasks = async (query) => {
      const page = await queuedTasks.call(store, query);
      await store.saveTask(assign(task, attempt, THERE));
      return page;
    };
    const node = join(anOffer());
    await settle();
    expect([sent, node.assignments.size, node.capacity]).toEqual([[], 0, 4]);
    expect((await store.task(task.id))!.owner).toEqual(THERE);
  });

  it("matches nothing once it is stopped", async () => {
    const { matcher, join, newTask, queue, sent } = await aMatcher();
    await queue(newTask());
    matcher.stop();
    join(anOffer());
    await settle();
    expect(sent).toEqual([]);
  });
});

describe("back-off", () => {
  it("reads the queue a quarter of the time at most while nothing that waits fits", async () => {
    const { store, clock, matcher, join, newTask, queue, sent } = await aMatcher();
    await queue(newTask());
    const { queuedTasks } = store;
    const tookMs = 40;
    const readAt: number[] = [];
    store.queuedTasks = async (query) => {
      readAt.push(clock.monotonic());
      clock.advance(tookMs);
      return queuedTasks.call(store, query);
    };
    join(anOffer(SLOW));
    while (clock.monotonic() < 10_000) {
      matcher.onCapacity();
      await settle();
      clock.advance(10);
    }
    const rounds = readAt.length - 1;
    const share = (rounds * tookMs) / (readAt[rounds]! - readAt[0]!);
    expect(share).toBeGreaterThan(0.1);
    expect(share).toBeLessThanOrEqual(0.25);
    join(anOffer());
    await clock.run(500, 10);
    await vi.waitFor(() => expect(sent).toHaveLength(1));
  });

  it("asks a store that refuses writes once a second", async () => {
    const { store, clock, join, newTask, queue } = await aMatcher();
    await queue(...Array.from({ length: 8 }, () => newTask()));
    let asked = 0;
    store.saveTask = async () => {
      asked++;
      throw new ComputeError("UNAVAILABLE");
    };
    join(anOffer({ slots: 4 }));
    await settle();
    for (let second = 1; second <= 5; second++) {
      expect(asked).toBe(4 * second);
      await clock.run(1_000, 100);
      await settle();
    }
  });
});

describe("several coordinators", () => {
  it("hear of a queued task when no node here has capacity", async () => {
    const { join, newTask, queue, nudged } = await aMatcher({ peers: ["http://b", "http://c"] });
    await queue(newTask());
    expect(nudged).toEqual(["http://b", "http://c"]);
    join(anOffer({ slots: 10 }));
    await settle();
    await queue(newTask());
    expect(nudged).toHaveLength(2);
  });

  it("find what the others queued, by polling", async () => {
    const { store, clock, join, newTask, sent } = await aMatcher({ peers: ["http://b"] });
    join(anOffer());
    await store.insertTask(newTask());
    await clock.run(2_000, 100);
    await vi.waitFor(() => expect(sent).toHaveLength(1));
  });
});
