import type { Batch } from "@proof-of-compute/coordinator/domain/batch";
import { takeOver } from "@proof-of-compute/coordinator/domain/task";
import type { Store } from "@proof-of-compute/coordinator/ports/store";
import { expect, test } from "vitest";
import { AGAIN, ALICE, aBatch, aNode, assigned, aTask, aVerifiedTask, CAROL, HERE, hexOf, THERE } from "./fixtures.ts";
import type { MakeStore } from "./store.ts";
import { accepted } from "./store-settling.ts";

const ROUNDS = 200;
/** Concurrent races: enough for load, and few enough that each stays a race. */
const AT_ONCE = 10;

/**
 * Two coordinators on one database: exactly one wins each race, and both see the same afterwards. An embedded store has
 * one coordinator, so two callers race on it instead.
 */
export function describeRaces(make: MakeStore): void {
  async function rivals(): Promise<readonly [Store, Store]> {
    const { store, another } = await make();
    return [store, (await another?.()) ?? store];
  }

  /** Runs numbered races, several concurrently. */
  async function race(run: (round: number) => Promise<void>): Promise<void> {
    for (let first = 0; first < ROUNDS; first += AT_ONCE) {
      await Promise.all(Array.from({ length: AT_ONCE }, (_, n) => run(first + n)));
    }
  }

  test("two coordinators insert the same task, and one of them creates it", async () => {
    const [here, there] = await rivals();
    await race(async (n) => {
      const tasks = [aTask(n), aTask(n, { requester: CAROL, deadline: 1 })] as const;
      const answers = await Promise.all([here.insertTask(tasks[0]), there.insertTask(tasks[1])]);
      const winner = answers.findIndex(({ created }) => created);
      expect(answers.map(({ created }) => created)).toEqual([winner === 0, winner === 1]);
      for (const { task } of answers) expect(task).toEqual(tasks[winner]);
      for (const store of [here, there]) expect(await store.task(hexOf(n))).toEqual(tasks[winner]);
    });
    expect((await here.totals()).tasks.queued).toBe(ROUNDS);
    expect(await there.totals()).toEqual(await here.totals());
  });

  test("two coordinators write the same version of a task, and one of them succeeds", async () => {
    const [here, there] = await rivals();
    await race(async (n) => {
      const queued = aTask(n);
      await here.insertTask(queued);
      const claims = [
        assigned(queued, hexOf(1_000 + n), 1, HERE),
        assigned(queued, hexOf(2_000 + n), 2, THERE),
      ] as const;
      const claimed = await Promise.all([here.saveTask(claims[0]), there.saveTask(claims[1])]);
      const running = claims[claimed.indexOf(true)]!;
      expect(claimed.filter(Boolean)).toHaveLength(1);
      for (const store of [here, there]) expect(await store.task(queued.id)).toEqual(running);

      const heirs = [takeOver(running, AGAIN), { ...takeOver(running, THERE), notBefore: 7 }] as const;
      const inherited = await Promise.all([here.saveTask(heirs[0]), there.saveTask(heirs[1])]);
      expect(inherited.filter(Boolean)).toHaveLength(1);
      for (const store of [here, there]) expect(await store.task(queued.id)).toEqual(heirs[inherited.indexOf(true)]);
    });
  });

  test("two coordinators accept a result, and one receipt is stored", async () => {
    const [here, there] = await rivals();
    await race(async (n) => {
      const { queued, running, receipt, verified } = aVerifiedTask(n);
      await here.insertTask(queued);
      await there.saveTask(running);
      const saved = await Promise.all([here, there].map((store) => store.saveTask(verified, { receipt })));
      expect(saved.filter(Boolean)).toHaveLength(1);
      for (const store of [here, there]) expect(await store.receipt(receipt.receiptId)).toEqual(receipt);
    });
    for (const store of [here, there]) {
      expect(await store.totals()).toMatchObject({ receipts: ROUNDS, units: { verified: 5n * BigInt(ROUNDS) } });
      expect((await store.unbatched()).count).toBe(ROUNDS);
    }
  });

  test("two coordinators take a lock, and one gets it", async () => {
    const [here, there] = await rivals();
    await race(async (n) => {
      const name = `lock ${n}`;
      const taken = await Promise.all([here.takeLock(name, HERE, null), there.takeLock(name, THERE, null)]);
      expect(taken.filter(Boolean)).toHaveLength(1);
      const holder = taken[0] ? HERE : THERE;
      for (const store of [here, there]) expect(await store.lockHolder(name)).toEqual(holder);
      const heirs = [AGAIN, { coordinatorId: "third", incarnation: hexOf(4) }] as const;
      const inherited = await Promise.all([
        here.takeLock(name, heirs[0], holder),
        there.takeLock(name, heirs[1], holder),
      ]);
      expect(inherited.filter(Boolean)).toHaveLength(1);
      for (const store of [here, there]) {
        expect(await store.lockHolder(name)).toEqual(heirs[inherited.indexOf(true)]);
      }
    });
  });

  test("two coordinators draw a secret, and both get the same", async () => {
    const [here, there] = await rivals();
    await race(async (n) => {
      const [mine, theirs] = await Promise.all([here.secret(`secret ${n}`), there.secret(`secret ${n}`)]);
      expect(Buffer.compare(mine, theirs)).toBe(0);
    });
  });

  test("two settlement leaders close the same batch with different contents, and one of them succeeds", async () => {
    const [here, there] = await rivals();
    const receipts = await accepted(here, 3 * ROUNDS);
    const carried: Batch[] = [];
    for (let id = 1; id <= ROUNDS; id++) {
      // They share one receipt, and each has another one, which stays free if its batch loses.
      const [a, b, c] = receipts.slice(3 * (id - 1));
      const batches = [aBatch(id, [a!, b!]), aBatch(id, [b!, c!], { root: hexOf(10_000 + id, 32) })] as const;
      const inserted = await Promise.all([here.insertBatch(batches[0]), there.insertBatch(batches[1])]);
      expect(inserted.filter(Boolean)).toHaveLength(1);
      const winner = batches[inserted.indexOf(true)]!;
      carried.push(winner);
      for (const store of [here, there]) expect(await store.batch(id)).toEqual(winner);
    }
    const batchOf = new Map(carried.flatMap(({ id, receiptIds }) => receiptIds.map((receipt) => [receipt, id])));
    for (const store of [here, there]) {
      expect((await store.unbatched()).count).toBe(ROUNDS);
      const free = await store.unbatchedReceipts(3 * ROUNDS);
      expect(free.filter(({ receiptId }) => batchOf.has(receiptId))).toEqual([]);
      for (const { receiptId } of receipts) {
        expect((await store.receipt(receiptId))?.batchId).toBe(batchOf.get(receiptId));
      }
    }
  });

  test("sums are consistent while another coordinator closes and records batches", async () => {
    const [here, there] = await rivals();
    const count = ROUNDS / 4;
    const receipts = await accepted(here, count);
    for (let id = 1; id <= count; id++) {
      const close = async () => {
        await here.insertBatch(aBatch(id, [receipts[id - 1]!]));
        await here.updateBatch(id, { state: "recorded" });
      };
      const [early, late] = await Promise.all([there.totals(), here.totals(), close()]);
      for (const { receipts, units } of [early, late]) {
        expect([receipts, units.verified]).toEqual([count, 5n * BigInt(count)]);
      }
    }
  });

  test("only the coordinator that a node joined last can change it", async () => {
    const [here, there] = await rivals();
    await race(async (n) => {
      await here.joinNode(aNode(n));
      await Promise.all([
        there.joinNode(aNode(n, { owner: THERE, wallet: ALICE })),
        here.saveNode(aNode(n, { status: "suspect" })),
      ]);
      for (const store of [here, there]) {
        expect(await store.node(hexOf(n, 32))).toEqual(aNode(n, { owner: THERE, wallet: ALICE }));
      }
      expect(await here.saveNode(aNode(n, { status: "offline" }))).toBe(false);
      expect(await here.saveLastSeen(HERE, [{ id: hexOf(n, 32), lastSeen: 1 }])).toEqual([hexOf(n, 32)]);
    });
  });
}
