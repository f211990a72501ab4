import type { Page, PageQuery, Store } from "../../coordinator/src/ports/store.ts";
import { ALICE, BOB, CAROL } from "./fixtures.ts";

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

/** Everything that can be seen of a store whose times lie below 20: two stores that agree on it are the same. */
export async function snapshot(store: Store) {
  const tasks = await readAll((query) => store.tasks(query));
  const receipts = await readAll((query) => store.receipts(query));
  const nodes = await readAll((query) => store.nodes(query));
  const wallets = [ALICE, BOB, CAROL];
  const each = <In, Out>(list: readonly In[], read: (item: In) => Promise<Out>) => Promise.all(list.map(read));
  return {
    tasks,
    tasksOfAlice: await readAll((query) => store.tasks({ ...query, requester: ALICE })),
    endedTasks: await readAll((query) => store.tasks({ ...query, states: ["verified", "failed", "cancelled"] })),
    queuedTasksOfBob: await readAll((query) => store.tasks({ ...query, requester: BOB, states: ["queued"] })),
    eachTask: await each(tasks, ({ id }) => store.task(id)),
    outputs: await each(tasks, async ({ id }) => Buffer.from((await store.output(id)) ?? [])),
    ready: await each([0, 3, 20], (now) => store.queuedTasks({ now, limit: 5, excluded: [tasks[0]?.id ?? "0x"] })),
    live: await store.liveTasks(),
    overdue: await each([0, 5, 20], (now) => store.overdueTasks(now, 4)),
    receipts,
    eachReceipt: await each(receipts, ({ receiptId }) => store.receipt(receiptId)),
    receiptsOf: await each(wallets, (provider) => readAll((query) => store.receipts({ ...query, provider }))),
    receiptsIn: await each([1, 2, 3], (batchId) => readAll((query) => store.receipts({ ...query, batchId }))),
    bobsIn1: await readAll((query) => store.receipts({ ...query, provider: BOB, batchId: 1 })),
    unbatched: await store.unbatchedReceipts(100),
    oldestUnbatched: await store.unbatchedReceipts(2),
    withResult: await each([5, 20], (before) => store.receiptsWithResult(before, 4)),
    batches: await readAll((query) => store.batches(query), 2),
    eachBatch: await each([1, 2, 3, 4], (id) => store.batch(id)),
    lastBatch: await store.lastBatch(),
    unrecorded: await store.unrecordedBatches(),
    nodes,
    eachNode: await each(nodes, ({ id }) => store.node(id)),
    nodesOf: await each(wallets, (wallet) => readAll((query) => store.nodes({ ...query, wallet }))),
    online: await readAll((query) => store.nodes({ ...query, status: "online" })),
    bobsOffline: await readAll((query) => store.nodes({ ...query, wallet: BOB, status: "offline" })),
    standings: await each(nodes, ({ id }) => each(wallets, (wallet) => store.standing(id, wallet))),
    totals: await store.totals(),
  };
}
