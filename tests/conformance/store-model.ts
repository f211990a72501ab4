import { MemoryStore } from "@proof-of-compute/coordinator/adapters/memory/store";
import { ComputeError } from "@proof-of-compute/coordinator/domain/errors";
import type { Owner } from "@proof-of-compute/coordinator/domain/owner";
import type { Receipt } from "@proof-of-compute/coordinator/domain/receipt";
import {
  accept,
  assign,
  cancel,
  endAssignment,
  expire,
  liveAssignment,
  type Task,
  takeOver,
} from "@proof-of-compute/coordinator/domain/task";
import type { Store } from "@proof-of-compute/coordinator/ports/store";
import type { Address, Hex } from "@proof-of-compute/proto";
import fc from "fast-check";
import { expect, test } from "vitest";
import {
  AGAIN,
  ALICE,
  aBatch,
  aCoordinator,
  aNode,
  aReceipt,
  aTask,
  BOB,
  CAROL,
  HERE,
  hexOf,
  THERE,
} from "./fixtures.ts";
import { snapshot } from "./snapshot.ts";
import type { MakeStore } from "./store.ts";

type Call = (store: Store) => Promise<unknown>;

interface World {
  readonly model: MemoryStore;
  /** Every version of each task, so that stale writes are tried too. */
  readonly versions: Map<Hex, Task[]>;
  /** Every receipt so far. */
  readonly receipts: Receipt[];
  assignments: number;
}

/** A possible step. Its calls depend on earlier steps; it has none if the domain refuses it. */
interface Step {
  callIn(world: World): Promise<Call | undefined>;
}

function step<T>(
  name: string,
  parts: fc.Arbitrary<T>,
  callOf: (parts: T, world: World) => Promise<Call | undefined>,
): fc.Arbitrary<Step> {
  return parts.map((values) => ({
    callIn: (world: World) => callOf(values, world),
    [fc.toStringMethod]: () => `${name} ${fc.stringify(values)}`,
  }));
}

/** Few of each, so that they collide often. */
const n = fc.nat(7);
const at = fc.nat(9);
const by = fc.constantFrom<Address>(ALICE, BOB, CAROL);
const owner = fc.constantFrom<Owner>(HERE, AGAIN, THERE);
const owners = fc.subarray<Owner>([HERE, AGAIN, THERE]);

const insert = step("insert", fc.record({ n, at, by, deadline: at }), async ({ n, at, by, deadline }, world) => {
  const task = aTask(n, { createdAt: at, notBefore: at, deadline, requester: by });
  if (!world.versions.has(task.id)) world.versions.set(task.id, [task]);
  return (store) => store.insertTask(task);
});

interface Hand {
  readonly by: Address;
  readonly at: number;
  readonly owner: Owner;
  /** For a new assignment. */
  readonly id: Hex;
}
type Move = (task: Task, hand: Hand) => Task | undefined;
const ending = (state: "failed" | "lost"): Move => {
  return (task, { at }) => {
    const live = liveAssignment(task);
    const retry = { maxAttempts: 2, notBefore: at };
    return live && endAssignment(task, live.id, { state, reason: "because", at }, retry, task.owner!);
  };
};
const MOVES: Record<string, Move> = {
  assign: (task, { by, at, owner, id }) =>
    assign(task, { id, nodeId: hexOf(at, 32), wallet: by, assignedAt: at }, owner),
  takeOver: (task, { owner }) => takeOver(task, owner),
  accept: (task, { by, at }) => {
    const live = liveAssignment(task);
    const change = { provider: by, acceptedAt: at, units: 2n ** 53n + BigInt(at) };
    return live && accept(task, aReceipt(task, live.id, change));
  },
  fail: ending("failed"),
  lose: ending("lost"),
  cancel: (task, { at }) => cancel(task, at),
  expire: (task, { at, owner }) => expire(task, at, task.owner ?? owner),
};

const move = step(
  "move",
  fc.record({
    n,
    at,
    by,
    owner,
    kind: fc.constantFrom(...Object.keys(MOVES)),
    stale: fc.nat(3).map((pick) => pick === 0),
  }),
  async ({ n, at, by, owner, kind, stale }, world) => {
    const versions = world.versions.get(hexOf(n));
    const base = versions?.at(stale ? 0 : -1);
    if (!versions || !base) return undefined;
    let task: Task | undefined;
    try {
      task = MOVES[kind]!(base, { by, at, owner, id: hexOf(1_000 + world.assignments++) });
    } catch (error) {
      if (!(error instanceof ComputeError)) throw error;
    }
    if (!task) return undefined;
    const saved = task;
    const receipt = Object.values(saved.assignments).find((assignment) => assignment.receipt)?.receipt;
    if (base === versions.at(-1)) {
      versions.push(saved);
      if (receipt) world.receipts.push(receipt);
    }
    return (store) => store.saveTask(saved, receipt && { receipt, output: Uint8Array.of(at) });
  },
);

const close = step(
  "close",
  fc.record({ picks: fc.array(n, { maxLength: 3 }), oldest: fc.boolean(), gap: fc.nat(3) }),
  async ({ picks, oldest, gap }, { model, receipts }) => {
    const id = (await lastBatchId(model)) + (gap === 0 ? 2 : 1);
    const unbatched = await model.unbatchedReceipts(picks.length);
    const picked = picks.map((pick) => receipts[pick]).filter((receipt) => receipt !== undefined);
    const batch = aBatch(id, oldest ? unbatched : picked);
    return (store) => store.insertBatch(batch);
  },
);

async function lastBatchId(store: Store): Promise<number> {
  return (await store.batches({ limit: 1 })).items[0]?.id ?? 0;
}

const takeIn = step("take in", fc.record({ at, by }), async ({ at, by }, { model }) => {
  const units = BigInt(at);
  const change = { imported: true, state: "recorded", units, credits: [{ provider: by, units }], block: at } as const;
  const batch = aBatch((await lastBatchId(model)) + 1, [], change);
  return (store) => store.insertBatch(batch);
});

const withdraw = step("withdraw", fc.nat(3), async (back, { model }) => {
  const id = (await lastBatchId(model)) - (back === 3 ? 1 : 0);
  return (store) => store.withdrawBatch(id);
});

const quarantine = step("quarantine", at, async (before) => (store) => store.quarantineReceipts(before));

const release = step("release", fc.array(n, { maxLength: 3 }), async (picks, { receipts }) => {
  const ids = picks.map((pick) => receipts[pick]?.receiptId ?? hexOf(404));
  return (store) => store.releaseReceipts(ids);
});

// The order of removal is up to the store, so remove all of them.
const prune = step("prune", at, async (before, world) => {
  for (const [id, versions] of world.versions) {
    const endedAt = versions.at(-1)?.endedAt;
    if (endedAt !== undefined && endedAt < before) world.versions.delete(id);
  }
  return (store) => store.pruneTasks(before, 100);
});

const forget = step("forget", fc.record({ before: at, limit: fc.nat(3) }), async ({ before, limit }, { model }) => {
  const receipts = await model.receiptsWithResult(before, limit);
  return (store) => store.forgetResults(receipts);
});

const batchState = fc.constantFrom("closed" as const, "included" as const, "recorded" as const);

const settle = step(
  "settle",
  fc.record(
    {
      id: fc.integer({ min: 1, max: 3 }),
      state: batchState,
      block: at,
      from: batchState,
    },
    { requiredKeys: ["id", "state"] },
  ),
  async ({ id, from, ...change }) =>
    (store) =>
      store.updateBatch(id, change, from),
);

const status = fc.constantFrom("online" as const, "suspect" as const, "offline" as const);

const join = step("join", fc.record({ n, at, by, owner, status }), async ({ n, at, by, owner, status }) => {
  return (store) => store.joinNode(aNode(n, { lastSeen: at, wallet: by, owner, status }));
});

const change = step("change", fc.record({ n, at, by, owner, status }), async ({ n, at, by, owner, status }) => {
  return (store) => store.saveNode(aNode(n, { lastSeen: at, wallet: by, owner, status }));
});

const heard = step("heard", fc.record({ n, at, owner }), async ({ n, at, owner }) => {
  return (store) => store.saveLastSeen(owner, [{ id: hexOf(n, 32), lastSeen: at }]);
});

const leave = step("leave", owners, async (present) => (store) => store.releaseNodes(present));

const pruneNodes = step("prune nodes", at, async (before) => (store) => store.pruneNodes(before, 100));

const peer = step(
  "peer",
  fc.record({ owner, name: fc.constantFrom("register" as const, "beat" as const, "deregister" as const) }),
  async ({ owner, name }) =>
    (store) =>
      name === "register" ? store.register(aCoordinator(owner)) : store[name](owner),
);

const lock = step(
  "lock",
  fc.record({ name: fc.constantFrom("settlement", "retention"), owner, from: fc.option(owner), release: fc.nat(2) }),
  async ({ name, owner, from, release }) =>
    (store) =>
      release === 0 ? store.releaseLock(name, owner) : store.takeLock(name, owner, from),
);

const standing = step("standing", fc.record({ n, at, by }), async ({ n, at, by }) => {
  return (store) => store.saveStandings([{ nodeId: hexOf(n, 32), wallet: by, cap: at, valid: n, faults: 0 }]);
});

const turns = fc.array(
  fc.array(
    fc.oneof(
      { weight: 4, arbitrary: insert },
      { weight: 12, arbitrary: move },
      { weight: 3, arbitrary: close },
      { weight: 2, arbitrary: settle },
      { weight: 1, arbitrary: forget },
      { weight: 1, arbitrary: takeIn },
      { weight: 1, arbitrary: withdraw },
      { weight: 1, arbitrary: quarantine },
      { weight: 1, arbitrary: release },
      { weight: 1, arbitrary: prune },
      { weight: 2, arbitrary: join },
      { weight: 2, arbitrary: change },
      { weight: 1, arbitrary: leave },
      { weight: 1, arbitrary: pruneNodes },
      { weight: 1, arbitrary: peer },
      { weight: 1, arbitrary: lock },
      { weight: 1, arbitrary: heard },
      { weight: 1, arbitrary: standing },
    ),
    { minLength: 1, maxLength: 12 },
  ),
  { maxLength: 10, size: "max" },
);

async function outcome(call: Promise<unknown>): Promise<unknown> {
  try {
    return { value: await call };
  } catch (error) {
    if (error instanceof ComputeError) return { code: error.code };
    throw error;
  }
}

/** Any history of calls, several in a turn, has the same visible result as on the model, before and after a restart. */
export function describeModel(make: MakeStore): void {
  test("does the same as the model", async () => {
    await fc.assert(
      fc.asyncProperty(turns, async (history) => {
        const { store, reopen } = await make();
        const world: World = { model: new MemoryStore(), versions: new Map(), receipts: [], assignments: 0 };
        await world.model.start();
        for (const turn of history) {
          const expected: unknown[] = [];
          const calls: Call[] = [];
          for (const action of turn) {
            const call = await action.callIn(world);
            if (!call) continue;
            calls.push(call);
            expected.push(await outcome(call(world.model)));
          }
          expect(await Promise.all(calls.map((call) => outcome(call(store))))).toEqual(expected);
        }
        const wanted = await snapshot(world.model);
        expect(await snapshot(store)).toEqual(wanted);
        const reopened = await reopen();
        expect(await snapshot(reopened)).toEqual(wanted);
        await reopened.stop();
      }),
      { numRuns: 60 },
    );
  });
}
