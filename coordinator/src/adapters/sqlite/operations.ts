import type { DatabaseSync } from "node:sqlite";
import type { Store } from "../../ports/store.ts";
import { Batches } from "./batches.ts";
import { Meta } from "./meta.ts";
import { Nodes } from "./nodes.ts";
import { Receipts, type WrittenReceipt } from "./receipts.ts";
import type { WrittenTask } from "./task-rows.ts";
import { Tasks } from "./tasks.ts";

/** Arguments of a method of the port that crosses to the store's thread as it is called. */
type Same<Name extends keyof Store> = (...args: Parameters<Store[Name]>) => Awaited<ReturnType<Store[Name]>>;
type Query<Name extends keyof Store> = Parameters<Store[Name]>[0];

/** The store's methods on an open database, tasks and receipts as rows. Each write runs within a transaction. */
export function operationsOn(database: DatabaseSync) {
  const meta = new Meta(database);
  const tasks = new Tasks(database);
  const nodes = new Nodes(database);
  const receipts = new Receipts(database);
  const batches = new Batches(database, receipts);
  const writes = {
    bind: ((contract, rebind) => meta.bind(contract, rebind)) as Same<"bind">,
    insertTask: (task: WrittenTask) => tasks.insert(task),
    saveTask: (task: WrittenTask, receipt: WrittenReceipt | undefined, output: string | undefined) => {
      if (!tasks.save(task, output)) return false;
      if (receipt) receipts.insert(receipt);
      return true;
    },
    forgetResults: ((forgotten) => {
      tasks.dropOutputs(forgotten.map(({ taskId }) => taskId));
      receipts.forgetResults(forgotten.map(({ receiptId }) => receiptId));
    }) as Same<"forgetResults">,
    saveNode: ((node) => nodes.save(node)) as Same<"saveNode">,
    saveLastSeen: ((seen) => nodes.saveLastSeen(seen)) as Same<"saveLastSeen">,
    saveStandings: ((standings) => nodes.saveStandings(standings)) as Same<"saveStandings">,
    insertBatch: ((batch) => batches.insert(batch)) as Same<"insertBatch">,
    updateBatch: ((id, change) => batches.update(id, change)) as Same<"updateBatch">,
  };
  const reads = {
    boundTo: (() => meta.boundTo()) as Same<"boundTo">,
    task: (id: Query<"task">) => tasks.get(id),
    tasks: (query: Query<"tasks">) => tasks.list(query),
    queuedTasks: (query: Query<"queuedTasks">) => tasks.queued(query),
    liveTasks: () => tasks.live(),
    overdueTasks: (now: number, limit: number) => tasks.overdue(now, limit),
    output: ((taskId) => tasks.output(taskId)) as Same<"output">,
    node: ((id) => nodes.get(id)) as Same<"node">,
    nodes: ((query) => nodes.list(query)) as Same<"nodes">,
    standing: ((nodeId, wallet) => nodes.standing(nodeId, wallet)) as Same<"standing">,
    receipt: (id: Query<"receipt">) => receipts.get(id),
    receipts: (query: Query<"receipts">) => receipts.list(query),
    unbatchedReceipts: (limit: number) => receipts.unbatched(limit),
    receiptsWithResult: (before: number, limit: number) => receipts.withResult(before, limit),
    batch: ((id) => batches.get(id)) as Same<"batch">,
    lastBatch: (() => batches.last()) as Same<"lastBatch">,
    unrecordedBatches: (() => batches.unrecorded()) as Same<"unrecordedBatches">,
    batches: ((query) => batches.list(query)) as Same<"batches">,
    totals: (() => meta.totals()) as Same<"totals">,
  };
  return { writes, reads };
}

/** Every operation by its name. */
export type Operations = ReturnType<typeof operationsOn>["writes"] & ReturnType<typeof operationsOn>["reads"];
