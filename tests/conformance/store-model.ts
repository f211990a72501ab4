import type { Address, Hex } from "@proof-of-compute/proto";
import fc from "fast-check";
import { expect, test } from "vitest";
import { ComputeError } from "../../coordinator/src/domain/errors.ts";
import type { Receipt } from "../../coordinator/src/domain/receipt.ts";
import {
  accept,
  assign,
  cancel,
  endAssignment,
  expire,
  liveAssignment,
  type Task,
} from "../../coordinator/src/domain/task.ts";
import type { Store } from "../../coordinator/src/ports/store.ts";
import { ALICE, aBatch, aNode, aReceipt, aTask, BOB, CAROL, hexOf } from "./fixtures.ts";
import { MemoryStore } from "./memory-store.ts";
import { snapshot } from "./snapshot.ts";
import type { MakeStore } from "./store.ts";

type Call = (store: Store) => Promise<unknown>;

interface World {
  readonly model: MemoryStore;
  /** Every version that each task had, so that stale writes are tried as well. */
  readonly versions: Map<Hex, Task[]>;
  /** Every receipt that was ever made. */
  readonly receipts: Receipt[];
  assignments: number;
}

/** Something that may happen; which call it is depends on what happened before. None where the domain refuses it. */
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

/** Few of each, so that they meet often. */
const n = fc.nat(7);
const at = fc.nat(9);
const by = fc.constantFrom<Address>(ALICE, BOB, CAROL);

const insert = step("insert", fc.record({ n, at, by, deadline: at }), async ({ n, at, by, deadline }, world) => {
  const task = aTask(n, { createdAt: at, notBefore: at, deadline, requester: by });
  if (!world.versions.has(task.id)) world.versions.set(task.id, [task]);
  return (store) => store.insertTask(task);
});

type Move = (task: Task, by: Address, at: number, assignment: Hex) => Task | undefined;
const ending = (state: "failed" | "lost"): Move => {
  return (task, _, at) => {
    const live = liveAssignment(task);
    const retry = { maxAttempts: 2, notBefore: at };
    return live && endAssignment(task, live.id, { state, reason: "because", at }, retry);
  };
};
const MOVES: Record<string, Move> = {
  assign: (task, by, at, id) => assign(task, { id, nodeId: hexOf(at, 32), wallet: by, assignedAt: at }),
  accept: (task, by, at) => {
    const live = liveAssignment(task);
    return (
      live && accept(task, aReceipt(task, live.id, { provider: by, acceptedAt: at, units: 2n ** 53n + BigInt(at) }))
    );
  },
  fail: ending("failed"),
  lose: ending("lost"),
  cancel: (task) => cancel(task),
  expire: (task, _, at) => expire(task, at),
};

const move = step(
  "move",
  fc.record({ n, at, by, kind: fc.constantFrom(...Object.keys(MOVES)), stale: fc.nat(3).map((pick) => pick === 0) }),
  async ({ n, at, by, kind, stale }, world) => {
    const versions = world.versions.get(hexOf(n));
    const base = versions?.at(stale ? 0 : -1);
    if (!versions || !base) return undefined;
    let task: Task | undefined;
    try {
      task = MOVES[kind]!(base, by, at, hexOf(1_000 + world.assignments++));
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
    const id = ((await model.lastBatch())?.id ?? 0) + (gap === 0 ? 2 : 1);
    const unbatched = await model.unbatchedReceipts(picks.length);
    const picked = picks.map((pick) => receipts[pick]).filter((receipt) => receipt !== undefined);
    const batch = aBatch(id, oldest ? unbatched : picked);
    return (store) => store.insertBatch(batch);
  },
);

const forget = step("forget", fc.record({ before: at, limit: fc.nat(3) }), async ({ before, limit }, { model }) => {
  const receipts = await model.receiptsWithResult(before, limit);
  return (store) => store.forgetResults(receipts);
});

const settle = step(
  "settle",
  fc.record(
    {
      id: fc.integer({ min: 1, max: 3 }),
      state: fc.constantFrom("closed" as const, "included" as const, "recorded" as const),
      block: at,
    },
    { requiredKeys: ["id", "state"] },
  ),
  async ({ id, ...change }) =>
    (store) =>
      store.updateBatch(id, change),
);

const node = step(
  "node",
  fc.record({ n, at, by, status: fc.constantFrom("online" as const, "suspect" as const, "offline" as const) }),
  async ({ n, at, by, status }) =>
    (store) =>
      store.saveNode(aNode(n, { lastSeen: at, wallet: by, status })),
);

const heard = step("heard", fc.record({ n, at }), async ({ n, at }) => {
  return (store) => store.saveLastSeen([{ id: hexOf(n, 32), lastSeen: at }]);
});

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
      { weight: 2, arbitrary: node },
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

/** Any history of calls, several in a turn, looks from outside as on the plain model, before and after a restart. */
export function describeModel(make: MakeStore): void {
  test("does whatever comes as the plain model does", async () => {
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
