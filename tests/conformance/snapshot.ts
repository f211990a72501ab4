import type { Page, PageQuery } from "@proof-of-compute/coordinator/ports/pages";
import type { Store } from "@proof-of-compute/coordinator/ports/store";
import { AGAIN, ALICE, BOB, CAROL, HERE, hexOf, THERE } from "./fixtures.ts";

/** Every item of a list, read in pages of `limit`. */
export async function readAll<T>(list: (query: PageQuery) => Promise<Page<T>>, limit = 3): Promise<T[]> {
  const items: T[] = [];
  let cursor: string | undefined;
  do {
    const page: Page<T> = await list({ limit, ...(cursor !== undefined && { cursor }) });
    if (page.items.length > limit) throw new Error(`a page of ${page.items.length} where ${limit} were asked for`);
    items.push(...page.items);
    cursor = page.cursor;
  } while (cursor !== undefined);
  return items;
}

/** Sorts lists without an order. */
function byText<T extends object>(items: readonly T[]): T[] {
  const textOf = (item: T) => Object.values(item).join();
  return items.toSorted((a, b) => (textOf(a) < textOf(b) ? -1 : 1));
}

/** Everything visible of a store with times below 20. Two stores with equal snapshots are the same. */
export async function snapshot(store: Store) {
  const tasks = await readAll((query) => store.tasks(query));
  const receipts = await readAll((query) => store.receipts(query));
  const nodes = await readAll((query) => store.nodes(query));
  const wallets = [ALICE, BOB, CAROL];
  const owners = [HERE, AGAIN, THERE];
  const nodeIds = Array.from({ length: 10 }, (_, n) => hexOf(n, 32));
  const each = <In, Out>(list: readonly In[], read: (item: In) => Promise<Out>) => Promise.all(list.map(read));
  return {
    tasks,
    tasksOfAlice: await readAll((query) => store.tasks({ ...query, requester: ALICE })),
    endedTasks: await readAll((query) => store.tasks({ ...query, states: ["verified", "failed", "cancelled"] })),
    queuedTasksOfBob: await readAll((query) => store.tasks({ ...query, requester: BOB, states: ["queued"] })),
    eachTask: await each(tasks, ({ id }) => store.task(id)),
    outputs: await each(tasks, async ({ id }) => Buffer.from((await store.output(id)) ?? [])),
    versions: byText(await store.taskVersions(tasks.map(({ id }) => id))),
    depths: byText(await store.queueDepths()),
    ready: await each([0, 3, 20], (now) => store.queuedTasks({ requesters: [CAROL, ALICE], now, limit: 3 })),
    readyBut: await store.queuedTasks({ requesters: [BOB], now: 20, limit: 3, excluded: [tasks[0]?.id ?? "0x"] }),
    liveOf: await each(nodeIds, (id) => store.liveTasksOf(id)),
    orphaned: await each([[], [HERE], [AGAIN, THERE], owners], (present) => store.orphanedTasks(present, 4)),
    orphanedAfter: await store.orphanedTasks([HERE], 4, tasks[0]?.id),
    liveAssignments: await each(owners, (owner) => store.liveAssignments(owner)),
    cancelling: await each(owners, (owner) => store.cancellingTasks(owner)),
    overdue: await each(owners, (owner) => each([0, 5, 20], (now) => store.overdueTasks({ now, owner, limit: 4 }))),
    receipts,
    eachReceipt: await each(receipts, ({ receiptId }) => store.receipt(receiptId)),
    receiptsOf: await each(wallets, (provider) => readAll((query) => store.receipts({ ...query, provider }))),
    receiptsIn: await each([1, 2, 3], (batchId) => readAll((query) => store.receipts({ ...query, batchId }))),
    bobsIn1: await readAll((query) => store.receipts({ ...query, provider: BOB, batchId: 1 })),
    quarantined: await readAll((query) => store.receipts({ ...query, quarantined: true })),
    carolsQuarantined: await readAll((query) => store.receipts({ ...query, provider: CAROL, quarantined: true })),
    unbatched: await store.unbatchedReceipts(100),
    countOfUnbatched: await store.unbatched(),
    oldestUnbatched: await store.unbatchedReceipts(2),
    withResult: await each([5, 20], (before) => store.receiptsWithResult(before, 4)),
    batches: await readAll((query) => store.batches(query), 2),
    eachBatch: await each([1, 2, 3, 4], (id) => store.batch(id)),
    nodes,
    eachNode: await each(nodes, ({ id }) => store.node(id)),
    nodesOf: await each(wallets, (wallet) => readAll((query) => store.nodes({ ...query, wallet }))),
    online: await readAll((query) => store.nodes({ ...query, status: "online" })),
    nodesHere: await readAll((query) => store.nodes({ ...query, coordinatorId: "here" })),
    nodeCounts: await store.nodeCounts(),
    bobsOffline: await readAll((query) => store.nodes({ ...query, wallet: BOB, status: "offline" })),
    standings: await each(nodes, ({ id }) => each(wallets, (wallet) => store.standing(id, wallet))),
    // The value of a beat means nothing.
    coordinators: (await store.coordinators()).map(({ beat: _, ...coordinator }) => coordinator),
    locks: await each(["settlement", "retention"], (name) => store.lockHolder(name)),
    contract: await store.boundTo(),
    totals: await store.totals(),
  };
}
