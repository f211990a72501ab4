import type { Receipt } from "@proof-of-compute/coordinator/domain/receipt";
import { accept, assign, cancel, endAssignment, type Task } from "@proof-of-compute/coordinator/domain/task";
import type { Store } from "@proof-of-compute/coordinator/ports/store";
import type { Hex } from "@proof-of-compute/proto";
import { expect, test } from "vitest";
import { ALICE, aReceipt, assigned, aTask, aVerifiedTask, BOB, CAROL, HERE, hexOf } from "./fixtures.ts";
import { readAll } from "./snapshot.ts";
import type { MakeStore } from "./store.ts";

const newestFirst = (tasks: readonly Task[]) =>
  tasks.toSorted((a, b) => b.createdAt - a.createdAt || (a.id < b.id ? 1 : -1));

/** Tasks, their versions, outputs and lists. */
export function describeTasks(make: MakeStore): void {
  test("returns a task unchanged, with its whole history", async () => {
    const { store } = await make();
    const retry = { maxAttempts: 3, notBefore: 9_000 };
    const first = aTask(1, { requestDigest: hexOf(8, 32), spec: new Uint8Array(0) });
    const second = assigned(first, hexOf(11));
    const ending = { state: "failed", reason: "“No” — ü\u0000'", at: 2_000 } as const;
    const third = endAssignment(second, hexOf(11), ending, retry, HERE);
    const fourth = assigned(third, hexOf(12), 2);
    const receipt = aReceipt(fourth, hexOf(12), { units: 2n ** 62n + 1n });
    const fifth = accept(fourth, receipt);
    await store.insertTask(first);
    for (const task of [second, third, fourth]) {
      expect(await store.saveTask(task)).toBe(true);
      expect(await store.task(task.id)).toEqual(task);
    }
    expect(await store.saveTask(fifth, { receipt })).toBe(true);
    expect(await store.task(fifth.id)).toEqual(fifth);
    expect(await store.receipt(receipt.receiptId)).toEqual(receipt);
    expect(await store.task(hexOf(404))).toBeNull();
  });

  test("inserts a task once, and returns the stored one afterwards", async () => {
    const { store } = await make();
    const stored = aTask(1);
    const other = aTask(1, { requester: CAROL, deadline: 1 });
    const answers = await Promise.all([store.insertTask(stored), store.insertTask(other), store.insertTask(other)]);
    expect(answers).toEqual([
      { task: stored, created: true },
      { task: stored, created: false },
      { task: stored, created: false },
    ]);
    await store.saveTask(assigned(stored, hexOf(11)));
    expect(await store.insertTask(stored)).toEqual({ task: assigned(stored, hexOf(11)), created: false });
  });

  test("inserts a task with its lease, in one write", async () => {
    const { store } = await make();
    const leased = { ...assigned(aTask(1), hexOf(11)), version: 1 };
    await store.insertTask(leased);
    expect(await store.liveTasksOf(hexOf(1, 32))).toEqual([leased]);
    expect((await store.totals()).tasks).toMatchObject({ queued: 0, running: 1 });
  });

  test("writes nothing for a stale version, receipt and output included", async () => {
    const { store } = await make();
    const { queued, running, receipt, verified } = aVerifiedTask(1);
    await store.insertTask(queued);
    const made = { receipt, output: Uint8Array.of(1) };
    expect(await store.saveTask(verified, made)).toBe(false);
    expect(await store.saveTask(queued, made)).toBe(false);
    expect(await store.saveTask({ ...verified, id: hexOf(404), version: 2 }, made)).toBe(false);
    expect(await store.task(queued.id)).toEqual(queued);
    expect(await store.receipt(receipt.receiptId)).toBeNull();
    expect(await store.output(queued.id)).toBeNull();
    expect(await store.saveTask(running)).toBe(true);
    expect(await store.saveTask(cancel(queued, 5), made)).toBe(false);
    expect(await store.task(queued.id)).toEqual(running);
    expect((await store.totals()).receipts).toBe(0);
  });

  test("stores no second receipt when a verdict is saved again", async () => {
    const { store } = await make();
    const { queued, running, receipt, verified } = aVerifiedTask(1);
    await store.insertTask(queued);
    await store.saveTask(running);
    expect(await Promise.all([1, 2].map(() => store.saveTask(verified, { receipt })))).toEqual([true, false]);
    expect(await store.saveTask(verified, { receipt })).toBe(false);
    expect(await store.saveTask({ ...verified, version: 4 }, { receipt })).toBe(true);
    expect(await store.unbatchedReceipts(10)).toEqual([receipt]);
    expect(await store.totals()).toMatchObject({ receipts: 1, units: { verified: receipt.units } });
  });

  test("lets exactly one of many writers of a version win", async () => {
    const { store } = await make();
    const tasks = Array.from({ length: 500 }, (_, n) => aTask(n));
    await Promise.all(tasks.map((task) => store.insertTask(task)));
    const contest = (task: Task, n: number) =>
      Promise.all([1, 2, 3].map((rival) => store.saveTask(assigned(task, hexOf(1_000 * rival + n), rival))));
    const outcomes = await Promise.all(tasks.map(contest));
    expect(outcomes.filter((won) => won.filter(Boolean).length === 1)).toHaveLength(500);
    const rivals = Array.from({ length: 500 }, (_, n) => store.saveTask(cancel(assigned(tasks[0]!, hexOf(n)), 5)));
    expect((await Promise.all(rivals)).filter(Boolean)).toHaveLength(1);
    expect((await store.totals()).tasks).toMatchObject({ queued: 0, running: 499, cancelling: 1 });
  });

  test("keeps outputs beside their tasks", async () => {
    const { store } = await make();
    const { queued, running, receipt, verified } = aVerifiedTask(1);
    await store.insertTask(queued);
    expect(await store.output(queued.id)).toBeNull();
    await store.saveTask(running);
    const output = Uint8Array.from({ length: 100_000 }, (_, i) => i % 251);
    await store.saveTask(verified, { receipt, output });
    await store.saveTask({ ...verified, version: 4 });
    expect(Buffer.compare((await store.output(queued.id))!, output)).toBe(0);
  });

  test("forgets old results, and keeps their receipts", async () => {
    const { store, reopen } = await make();
    const made = await Promise.all(
      [1, 2, 3, 4].map(async (n) => {
        const { queued, running, receipt, verified } = aVerifiedTask(n, { acceptedAt: 100 * n });
        await store.insertTask(queued);
        await store.saveTask(running);
        await store.saveTask(verified, { receipt, output: Uint8Array.of(n) });
        return receipt;
      }),
    );
    expect(await store.receiptsWithResult(100, 9)).toEqual([]);
    expect(await store.receiptsWithResult(301, 2)).toEqual(made.slice(0, 2));
    await store.forgetResults(made.slice(0, 2));
    await store.forgetResults(made.slice(1, 2));
    for (const read of [async () => store, reopen]) {
      const reader = await read();
      expect(await reader.receiptsWithResult(1_000, 9)).toEqual(made.slice(2));
      expect(await reader.output(made[1]!.taskId)).toBeNull();
      expect(await reader.output(made[2]!.taskId)).toEqual(Uint8Array.of(3));
      expect(await reader.receipt(made[1]!.receiptId)).toEqual(made[1]);
      expect((await reader.totals()).receipts).toBe(4);
    }
  });

  test("keeps the output of a later task that took the id of a pruned one", async () => {
    const { store } = await make();
    const { queued, running, receipt, verified } = aVerifiedTask(1);
    await store.insertTask(queued);
    await store.saveTask(running);
    await store.saveTask(verified, { receipt, output: Uint8Array.of(1) });
    await store.forgetResults([receipt]);
    await store.pruneTasks(verified.endedAt! + 1, 1);
    const again = assigned(queued, hexOf(77));
    const later = aReceipt(again, hexOf(77));
    await store.insertTask(queued);
    await store.saveTask(again);
    await store.saveTask(accept(again, later), { receipt: later, output: Uint8Array.of(2) });
    // Another coordinator listed the first receipt before, and forgets it now.
    await store.forgetResults([receipt]);
    expect(await store.output(queued.id)).toEqual(Uint8Array.of(2));
    await store.forgetResults([receipt, later]);
    expect(await store.output(queued.id)).toBeNull();
  });

  test("names the digests that receipts refer to whose results are kept as blobs", async () => {
    const { store, reopen } = await make();
    const digests = [51, 52, 53].map((n) => hexOf(n, 32)) as [Hex, Hex, Hex];
    const made: Receipt[] = [];
    for (const [n, resultDigest] of [digests[0], digests[0], digests[1]].entries()) {
      const { queued, running, receipt, verified } = aVerifiedTask(n, { resultDigest });
      await store.insertTask(queued);
      await store.saveTask(running);
      await store.saveTask(verified, { receipt });
      made.push(receipt);
    }
    const referred = async (reader: Store) => (await reader.referredDigests(digests)).toSorted();
    expect(await referred(store)).toEqual([digests[0], digests[1]].toSorted());
    expect(await store.referredDigests([])).toEqual([]);
    expect(await store.referredDigests([digests[2]])).toEqual([]);
    await store.forgetResults(made.slice(0, 1));
    await store.pruneTasks(Number.MAX_SAFE_INTEGER, 9);
    expect(await referred(store)).toEqual([digests[0], digests[1]].toSorted());
    await store.forgetResults(made.slice(1, 2));
    for (const read of [async () => store, reopen]) expect(await referred(await read())).toEqual([digests[1]]);
  });

  test("lists tasks newest first, of a requester and in some states", async () => {
    const { store } = await make();
    const tasks = Array.from({ length: 40 }, (_, n) =>
      aTask(n, { createdAt: n >> 2, requester: n % 3 ? ALICE : CAROL, state: n % 2 ? "queued" : "failed" }),
    );
    await Promise.all(tasks.map((task) => store.insertTask(task)));
    const sorted = newestFirst(tasks);
    expect(await readAll((query) => store.tasks(query), 7)).toEqual(sorted);
    expect(await readAll((query) => store.tasks({ ...query, requester: CAROL }), 1)).toEqual(
      sorted.filter((task) => task.requester === CAROL),
    );
    expect(
      await readAll((query) => store.tasks({ ...query, requester: ALICE, states: ["failed", "running"] })),
    ).toEqual(sorted.filter((task) => task.requester === ALICE && task.state === "failed"));
    expect(await store.tasks({ limit: 5, requester: BOB })).toEqual({ items: [] });
    expect(await store.tasks({ limit: 5, states: [] })).toEqual({ items: [] });
    expect((await store.tasks({ limit: 40 })).cursor).toBeUndefined();
  });

  test("pages through tasks without gaps or duplicates while others are inserted", async () => {
    const { store } = await make();
    const tasks = Array.from({ length: 30 }, (_, n) => aTask(n, { createdAt: 100 + (n >> 1) }));
    await Promise.all(tasks.map((task) => store.insertTask(task)));
    let late = 1_000;
    const seen = await readAll(async (query) => {
      const page = await store.tasks(query);
      for (const createdAt of [1_000_000, 107]) await store.insertTask(aTask(late++, { createdAt }));
      return page;
    }, 4);
    expect(new Set(seen.map(({ id }) => id)).size).toBe(seen.length);
    const ids = new Set(tasks.map(({ id }) => id));
    expect(seen.filter(({ id }) => ids.has(id))).toEqual(newestFirst(tasks));
  });

  test("refuses to assign a task that another write of the same turn took", async () => {
    const { store } = await make();
    const task = aTask(1);
    const take = (n: number) =>
      store.saveTask(assign(task, { id: hexOf(n), nodeId: hexOf(n, 32), wallet: BOB, assignedAt: 5 }, HERE));
    expect(await Promise.all([store.insertTask(task), take(1), take(2)])).toEqual([
      { task, created: true },
      true,
      false,
    ]);
    expect(Object.keys((await store.task(task.id))!.assignments)).toEqual([hexOf(1)]);
  });
}
