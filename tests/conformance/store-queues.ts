import { isSameOwner, type Owner } from "@proof-of-compute/coordinator/domain/owner";
import { accept, cancel, endAssignment, expire, type Task, takeOver } from "@proof-of-compute/coordinator/domain/task";
import type { Address, Hex } from "@proof-of-compute/proto";
import { expect, test } from "vitest";
import { AGAIN, ALICE, assigned, aTask, aVerifiedTask, BOB, CAROL, HERE, hexOf, THERE } from "./fixtures.ts";
import { readAll } from "./snapshot.ts";
import type { MakeStore } from "./store.ts";

const byId = (tasks: readonly Task[]) => tasks.toSorted((a, b) => (a.id < b.id ? -1 : 1));

/** Queues, live tasks by owner, overdue tasks, and pruning. */
export function describeQueues(make: MakeStore): void {
  test("finds queued tasks that are ready, the longest ready first", async () => {
    const { store } = await make();
    const at = (n: number, notBefore: number) => aTask(n, { notBefore, createdAt: 1_000 - n });
    const [first, second, third, later] = [at(1, 10), at(2, 20), at(3, 30), at(4, 31)];
    for (const task of [later, third, first, second]) await store.insertTask(task);
    const taken = assigned(at(5, 5), hexOf(50));
    await store.insertTask(at(5, 5));
    await store.saveTask(taken);
    const ready = (now: number, limit: number, excluded?: Hex[]) =>
      store.queuedTasks({ requesters: [ALICE], now, limit, ...(excluded && { excluded }) });
    expect(await ready(30, 10)).toEqual([first, second, third]);
    expect(await ready(30, 2)).toEqual([first, second]);
    expect(await ready(30, 2, [first.id, hexOf(404)])).toEqual([second, third]);
    expect(await ready(9, 10)).toEqual([]);
    const ending = { state: "lost", reason: "lease lost", at: 30 } as const;
    await store.saveTask(endAssignment(taken, hexOf(50), ending, { maxAttempts: 3, notBefore: 40 }, HERE));
    expect((await ready(40, 10)).map(({ id }) => id)).toEqual([first, second, third, later, taken].map(({ id }) => id));
  });

  test("reads each requester's part of the queue, and counts it", async () => {
    const { store } = await make();
    const of = (requester: Address, from: number, count: number) =>
      Array.from({ length: count }, (_, n) => aTask(from + n, { requester, notBefore: n }));
    const [alices, bobs] = [of(ALICE, 100, 30), of(BOB, 200, 3)];
    const carols = of(CAROL, 300, 1).map((task) => ({ ...task, notBefore: 9_000 }));
    await Promise.all([...alices, ...bobs, ...carols].map((task) => store.insertTask(task)));
    await store.insertTask({ ...assigned(aTask(400), hexOf(40)), version: 1 });
    const query = { now: 100, limit: 4 };
    expect(await store.queuedTasks({ ...query, requesters: [BOB, CAROL, ALICE] })).toEqual([
      ...bobs,
      ...alices.slice(0, 4),
    ]);
    const excluded = [alices[0]!.id, alices[2]!.id, bobs[1]!.id];
    expect(await store.queuedTasks({ ...query, requesters: [ALICE, BOB], limit: 2, excluded })).toEqual([
      alices[1],
      alices[3],
      bobs[0],
      bobs[2],
    ]);
    expect(await store.queuedTasks({ ...query, requesters: [] })).toEqual([]);
    const depths = (await store.queueDepths()).map(({ requester, queued }) => [requester, queued] as const);
    expect(new Map(depths)).toEqual(
      new Map([
        [ALICE, 30],
        [BOB, 3],
        [CAROL, 1],
      ]),
    );
    expect(depths).toHaveLength(3);
    for (const task of bobs) await store.saveTask(cancel(task, 5));
    expect((await store.queueDepths()).map(({ requester }) => requester).toSorted()).toEqual([ALICE, CAROL].toSorted());
  });

  test("finds the tasks of a node, by id", async () => {
    const { store } = await make();
    const tasks = Array.from({ length: 9 }, (_, n) => assigned(aTask(n), hexOf(100 + n), n % 3));
    for (const [n, task] of tasks.entries()) {
      await store.insertTask(aTask(n));
      await store.saveTask(task);
    }
    const cancelling = cancel(tasks[3]!, 5);
    await store.saveTask(cancelling);
    const ending = { state: "lost", reason: "lease lost", at: 30 } as const;
    await store.saveTask(endAssignment(tasks[6]!, hexOf(106), ending, { maxAttempts: 3, notBefore: 40 }, HERE));
    expect(await store.liveTasksOf(hexOf(0, 32))).toEqual(byId([tasks[0]!, cancelling]));
    expect(await store.liveTasksOf(hexOf(1, 32))).toEqual(byId([tasks[1]!, tasks[4]!, tasks[7]!]));
    expect(await store.liveTasksOf(hexOf(404, 32))).toEqual([]);
  });

  test("finds live tasks without a living owner", async () => {
    const { store } = await make();
    const owners = [HERE, AGAIN, THERE];
    const tasks = Array.from({ length: 12 }, (_, n) => assigned(aTask(n), hexOf(100 + n), 1, owners[n % 3]));
    tasks[4] = cancel(tasks[4]!, 5);
    for (const [n, task] of tasks.entries()) await store.insertTask({ ...task, version: 1, id: hexOf(n) });
    // Stored by a version without owners.
    const { owner: _, ...unowned } = assigned(aTask(50), hexOf(150));
    await store.insertTask({ ...unowned, version: 1 });
    await store.insertTask(aTask(51));
    await store.insertTask({ ...aVerifiedTask(52).verified, version: 1 });
    const stored: Task[] = [...tasks, unowned].map((task) => ({ ...task, version: 1 }));
    const without = (...present: Owner[]) =>
      byId(stored.filter(({ owner }) => !present.some((other) => isSameOwner(other, owner))));
    expect(await store.orphanedTasks([HERE], 100)).toEqual(without(HERE));
    expect(await store.orphanedTasks([THERE, AGAIN], 100)).toEqual(without(THERE, AGAIN));
    expect(await store.orphanedTasks(owners, 100)).toEqual([stored.at(-1)]);
    expect(await store.orphanedTasks([], 100)).toEqual(byId(stored));
    expect(await store.orphanedTasks([HERE], 3)).toEqual(without(HERE).slice(0, 3));
    const [, second] = without(HERE);
    expect(await store.orphanedTasks([HERE], 3, second!.id)).toEqual(without(HERE).slice(2, 5));
    expect(await store.orphanedTasks([HERE], 3, without(HERE).at(-1)!.id)).toEqual([]);
    expect(await store.liveAssignments(AGAIN)).toEqual(
      byId(stored.filter(({ owner }) => isSameOwner(owner, AGAIN))).map(({ id, assignments }) => ({
        taskId: id,
        assignmentId: Object.keys(assignments)[0],
      })),
    );
    expect(await store.cancellingTasks(AGAIN)).toEqual([stored[4]]);
    expect(await store.cancellingTasks(HERE)).toEqual([]);
    expect(await store.liveTasksOf(hexOf(1, 32))).toEqual(byId(stored));
  });

  test("lets a task change its owner, once for each version", async () => {
    const { store } = await make();
    const { queued, running, receipt, verified } = aVerifiedTask(1);
    await store.insertTask(queued);
    await store.saveTask(running);
    const taken = takeOver(running, THERE);
    const takers = [taken, takeOver(running, AGAIN)].map((task) => store.saveTask(task));
    expect((await Promise.all(takers)).filter(Boolean)).toHaveLength(1);
    const winner = (await store.task(queued.id))!;
    expect([THERE, AGAIN]).toContainEqual(winner.owner);
    expect(await store.saveTask(verified, { receipt })).toBe(false);
    expect(await store.orphanedTasks([winner.owner!], 9)).toEqual([]);
    expect(await store.orphanedTasks([HERE], 9)).toEqual([winner]);
    expect(await store.liveAssignments(HERE)).toEqual([]);
    const attempt = { taskId: queued.id, assignmentId: receipt.receiptId };
    expect(await store.liveAssignments(winner.owner!)).toEqual([attempt]);
    const done = accept(winner, receipt);
    expect(await store.saveTask(done, { receipt })).toBe(true);
    expect(await store.task(queued.id)).toEqual(done);
    expect(done.owner).toBeUndefined();
    expect(await store.orphanedTasks([], 9)).toEqual([]);
    expect(await store.liveAssignments(winner.owner!)).toEqual([]);
  });

  test("returns the versions of stored tasks", async () => {
    const { store } = await make();
    await store.insertTask(aTask(1));
    await store.insertTask(aTask(2));
    await store.saveTask(assigned(aTask(2), hexOf(20)));
    const versions = await store.taskVersions([hexOf(2), hexOf(404), hexOf(1)]);
    expect(new Map(versions.map(({ id, version }) => [id, version]))).toEqual(
      new Map([
        [hexOf(1), 1],
        [hexOf(2), 2],
      ]),
    );
    expect(versions).toHaveLength(2);
    expect(await store.taskVersions([])).toEqual([]);
  });

  test("finds overdue tasks that no other coordinator owns", async () => {
    const { store } = await make();
    const due = (n: number, deadline: number) => aTask(n, { deadline });
    await Promise.all([1, 2, 3, 4, 6].map((n) => store.insertTask(due(n, 100 * n))));
    const running = assigned(due(2, 200), hexOf(20));
    const cancelling = cancel(assigned(due(3, 300), hexOf(30)), 5);
    const others = assigned(due(6, 600), hexOf(60), 1, THERE);
    await store.saveTask(running);
    await store.saveTask(assigned(due(3, 300), hexOf(30)));
    await store.saveTask(cancelling);
    await store.saveTask(others);
    const { queued, running: ran, receipt, verified } = aVerifiedTask(5);
    await store.insertTask({ ...queued, deadline: 0 });
    await store.saveTask(ran);
    await store.saveTask(verified, { receipt });
    const overdue = (now: number, limit: number, owner = HERE) => store.overdueTasks({ now, owner, limit });
    expect(await overdue(300, 10)).toEqual([due(1, 100), running]);
    expect(await overdue(1_000, 3)).toEqual([due(1, 100), running, cancelling]);
    expect(await overdue(1_000, 9)).toEqual([due(1, 100), running, cancelling, due(4, 400)]);
    expect(await overdue(1_000, 9, THERE)).toEqual([due(1, 100), due(4, 400), others]);
    expect(await overdue(1_000, 9, AGAIN)).toEqual([due(1, 100), due(4, 400)]);
    expect(await overdue(100, 10)).toEqual([]);
    await store.saveTask(expire(running, 700, HERE));
    expect(await overdue(300, 10)).toEqual([due(1, 100)]);
  });

  test("prunes tasks that ended long ago with their outputs, and nothing else", async () => {
    const { store, reopen } = await make();
    const made = await Promise.all(
      [1, 2, 3, 4].map(async (n) => {
        const { queued, running, receipt, verified } = aVerifiedTask(n, { acceptedAt: 100 * n });
        await store.insertTask(queued);
        await store.saveTask(running);
        await store.saveTask(verified, { receipt, output: Uint8Array.of(n) });
        return { verified, receipt };
      }),
    );
    const cancelled = cancel(aTask(5), 150);
    const failed = expire(aTask(6), 250, HERE);
    for (const task of [cancelled, failed]) {
      await store.insertTask({ ...task, state: "queued", version: 1 });
      await store.saveTask(task);
    }
    await store.insertTask(aTask(7, { createdAt: 1, notBefore: 1, deadline: 2 }));
    await store.insertTask({ ...assigned(aTask(8, { createdAt: 1 }), hexOf(80)), version: 1 });
    expect(await store.pruneTasks(100, 9)).toBe(0);
    expect(await store.pruneTasks(301, 2)).toBe(2);
    expect(await store.pruneTasks(301, 0)).toBe(0);
    expect(await store.pruneTasks(301, 9)).toBe(3);
    expect(await store.pruneTasks(301, 9)).toBe(0);
    for (const read of [async () => store, reopen]) {
      const reader = await read();
      expect((await readAll((query) => reader.tasks(query))).map(({ id }) => id).toSorted()).toEqual(
        [hexOf(4), hexOf(7), hexOf(8)].toSorted(),
      );
      expect(await reader.task(hexOf(1))).toBeNull();
      expect(await reader.output(hexOf(1))).toBeNull();
      expect(await reader.output(hexOf(4))).toEqual(Uint8Array.of(4));
      for (const { receipt } of made) expect(await reader.receipt(receipt.receiptId)).toEqual(receipt);
      expect(await reader.totals()).toMatchObject({
        tasks: { queued: 1, running: 1, cancelling: 0, verified: 1, failed: 0, cancelled: 0 },
        receipts: 4,
        unbatched: { count: 4, oldestAcceptedAt: 100 },
        units: { verified: 20n },
      });
      expect(await reader.taskVersions([hexOf(1), hexOf(4)])).toEqual([{ id: hexOf(4), version: 3 }]);
    }
  });
}
