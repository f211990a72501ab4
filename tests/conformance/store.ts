import type { Store } from "@proof-of-compute/coordinator/ports/store";
import { describe, expect, test } from "vitest";
import { ALICE, aBatch, aCoordinator, aNode, aTask, aVerifiedTask, BOB, HERE, hexOf } from "./fixtures.ts";
import { readAll, snapshot } from "./snapshot.ts";
import { describeCluster } from "./store-cluster.ts";
import { describeModel } from "./store-model.ts";
import { describeNodes } from "./store-nodes.ts";
import { describeQueues } from "./store-queues.ts";
import { describeRaces } from "./store-races.ts";
import { describeRecovery } from "./store-recovery.ts";
import { describeSettling } from "./store-settling.ts";
import { describeTasks } from "./store-tasks.ts";

/**
 * Makes an empty, started store, a way to stop it and start another one on the same data, and, where several coordinators
 * can share a database, a second instance beside it. Whoever makes them stops them.
 */
export type MakeStore = () => Promise<{
  readonly store: Store;
  reopen(): Promise<Store>;
  another?(): Promise<Store>;
}>;

/** What every adapter of the {@link Store} port must do. */
export function describeStore(name: string, make: MakeStore): void {
  describe(`${name} as Store`, () => {
    describeLifecycle(make);
    describeCluster(make);
    describeTasks(make);
    describeQueues(make);
    describeNodes(make);
    describeSettling(make);
    describeRecovery(make);
    describeRaces(make);
    describeModel(make);
  });
}

function describeLifecycle(make: MakeStore): void {
  test("starts and stops repeatedly, and is unavailable in between", async () => {
    const { store } = await make();
    await store.start();
    await store.insertTask(aTask(1));
    await store.stop();
    await store.stop();
    const calls: (() => Promise<unknown>)[] = [
      () => store.insertTask(aTask(2)),
      () => store.saveTask(aTask(1)),
      () => store.task(hexOf(1)),
      () => store.saveNode(aNode(1)),
      () => store.insertBatch(aBatch(1, [])),
      () => store.unbatched(),
      () => store.beat(HERE),
      () => store.takeLock("settlement", HERE, null),
      () => store.secret("peers"),
      () => store.bind({ chainId: 1, address: ALICE }, false),
      () => store.totals(),
    ];
    for (const call of calls) await expect(call()).rejects.toMatchObject({ code: "UNAVAILABLE" });
  });

  test("commits pending calls before it stops", async () => {
    const { store, reopen } = await make();
    const inserts = Promise.all(Array.from({ length: 1_000 }, (_, n) => store.insertTask(aTask(n))));
    await store.stop();
    await inserts;
    expect((await (await reopen()).totals()).tasks.queued).toBe(1_000);
  });

  test("keeps everything across a restart", async () => {
    const { store, reopen } = await make();
    await store.bind({ chainId: 31_337, address: ALICE }, false);
    for (let n = 1; n <= 4; n++) {
      const { queued, running, receipt, verified } = aVerifiedTask(n);
      await store.insertTask(queued);
      await store.saveTask(running);
      if (n !== 2) await store.saveTask(verified, { receipt, output: Uint8Array.of(n) });
    }
    await store.insertBatch(aBatch(1, [aVerifiedTask(1).receipt]));
    await store.updateBatch(1, { state: "recorded", transaction: hexOf(9, 32), block: 7 });
    await store.joinNode(aNode(1));
    await store.register(aCoordinator(HERE));
    await store.takeLock("settlement", HERE, null);
    const secret = await store.secret("peers");
    await store.saveStandings([{ nodeId: aNode(1).id, wallet: BOB, cap: 4, valid: 3, faults: 1 }]);
    const before = await snapshot(store);
    const reopened = await reopen();
    expect(await snapshot(reopened)).toEqual(before);
    expect(Buffer.compare(await reopened.secret("peers"), secret)).toBe(0);
    await expect(reopened.bind({ chainId: 50, address: ALICE }, false)).rejects.toMatchObject({
      code: "STORE_BOUND_ELSEWHERE",
    });
  });

  test("stays bound to the first contract, unless it is rebound", async () => {
    const { store } = await make();
    const refused = { code: "STORE_BOUND_ELSEWHERE" };
    expect(await store.boundTo()).toBeNull();
    await store.bind({ chainId: 50, address: ALICE }, false);
    expect(await store.boundTo()).toEqual({ chainId: 50, address: ALICE });
    await store.bind({ chainId: 50, address: ALICE }, false);
    await expect(store.bind({ chainId: 51, address: ALICE }, false)).rejects.toMatchObject(refused);
    await expect(store.bind({ chainId: 50, address: BOB }, false)).rejects.toMatchObject(refused);
    await store.bind({ chainId: 51, address: BOB }, true);
    await store.bind({ chainId: 51, address: BOB }, false);
    expect(await store.boundTo()).toEqual({ chainId: 51, address: BOB });
    await expect(store.bind({ chainId: 50, address: ALICE }, false)).rejects.toMatchObject(refused);
  });

  test("a failing call of a turn fails alone", async () => {
    const { store } = await make();
    const outcomes = await Promise.allSettled([
      store.insertTask(aTask(1)),
      store.updateBatch(7, { state: "recorded" }),
      store.insertBatch(aBatch(1, [aVerifiedTask(1).receipt])),
      store.insertTask(aTask(2)),
    ]);
    expect(outcomes.map(({ status }) => status)).toEqual(["fulfilled", "rejected", "fulfilled", "fulfilled"]);
    expect(outcomes[1]).toMatchObject({ reason: { code: "NOT_FOUND" } });
    expect(outcomes[2]).toMatchObject({ value: false });
    expect(await readAll((query) => store.tasks(query))).toEqual([aTask(2), aTask(1)]);
    expect(await store.batches({ limit: 1 })).toEqual({ items: [] });
  });

  test.each(["", "%", "not a cursor", "bnVsbA", "e30", "W10", "WzEsMl0", "IjB4enoi", "IjB4YWJjIg", "' OR 1=1"])(
    "refuses %j as a cursor",
    async (cursor) => {
      const { store } = await make();
      const page = { limit: 5, cursor };
      const lists = [store.tasks(page), store.nodes(page), store.receipts(page), store.batches(page)];
      for (const outcome of await Promise.allSettled(lists)) {
        expect(outcome).toMatchObject({ status: "rejected", reason: { code: "INVALID_REQUEST" } });
      }
    },
  );
}
