import type { DatabaseSync } from "node:sqlite";
import type { Store } from "../../ports/store.ts";
import { Batches } from "./batches.ts";
import { SqliteCluster } from "./cluster.ts";
import { Meta } from "./meta.ts";
import { Nodes } from "./nodes.ts";
import { Receipts, type WrittenReceipt } from "./receipts.ts";
import type { WrittenTask } from "./task-rows.ts";
import { Tasks } from "./tasks.ts";

/** A method of the port whose arguments are sent to the store's thread unchanged. */
type Same<Name extends keyof Store> = (...args: Parameters<Store[Name]>) => Awaited<ReturnType<Store[Name]>>;
type Query<Name extends keyof Store> = Parameters<Store[Name]>[0];

/** The store's methods on an open database, with tasks and receipts as rows. Each write runs within a transaction. */
export function operationsOn(database: DatabaseSync) {
  const meta = new Meta(database);
  const cluster = new SqliteCluster(database);
  const tasks = new Tasks(database);
  const nodes = new Nodes(database);
  const receipts = new Receipts(database);
  const batches = new Batches(database, receipts);
  const writes = {
    bind: ((contract, rebind) => meta.bind(contract, rebind)) as Same<"bind">,
    secret: ((name) => cluster.secret(name)) as Same<"secret">,
    register: ((coordinator) => cluster.register(coordinator)) as Same<"register">,
    beat: ((owner) => cluster.beat(owner)) as Same<"beat">,
    deregister: ((owner) => cluster.deregister(owner)) as Same<"deregister">,
    takeLock: ((name, owner, from) => cluster.takeLock(name, owner, from)) as Same<"takeLock">,
    releaseLock: ((name, owner) => cluster.releaseLock(name, owner)) as Same<"releaseLock">,
    insertTask: (task: WrittenTask) => tasks.insert(task),
    saveTask: (task: WrittenTask, receipt: WrittenReceipt | undefined, output: string | undefined) => {
      if (!tasks.save(task, output)) return false;
      if (receipt) receipts.insert(receipt);
      return true;
    },
    pruneTasks: ((before, limit) => tasks.prune(before, limit)) as Same<"pruneTasks">,
    forgetResults: ((forgotten) => {
      tasks.dropOutputs(forgotten);
      receipts.forgetResults(forgotten.map(({ receiptId }) => receiptId));
    }) as Same<"forgetResults">,
    quarantineReceipts: ((before) => receipts.quarantine(before)) as Same<"quarantineReceipts">,
    releaseReceipts: ((ids) => receipts.release(ids)) as Same<"releaseReceipts">,
    joinNode: ((node) => nodes.join(node)) as Same<"joinNode">,
    saveNode: ((node) => nodes.save(node)) as Same<"saveNode">,
    saveLastSeen: ((owner, seen) => nodes.saveLastSeen(owner, seen)) as Same<"saveLastSeen">,
    releaseNodes: ((owners) => nodes.release(owners)) as Same<"releaseNodes">,
    pruneNodes: ((before, limit) => nodes.prune(before, limit)) as Same<"pruneNodes">,
    saveStandings: ((standings) => nodes.saveStandings(standings)) as Same<"saveStandings">,
    insertBatch: ((batch) => batches.insert(batch)) as Same<"insertBatch">,
    updateBatch: ((id, change, from) => batches.update(id, change, from)) as Same<"updateBatch">,
    withdrawBatch: ((id) => batches.withdraw(id)) as Same<"withdrawBatch">,
  };
  const reads = {
    boundTo: (() => meta.boundTo()) as Same<"boundTo">,
    coordinators: (() => cluster.coordinators()) as Same<"coordinators">,
    lockHolder: ((name) => cluster.lockHolder(name)) as Same<"lockHolder">,
    task: (id: Query<"task">) => tasks.get(id),
    taskVersions: ((ids) => tasks.versions(ids)) as Same<"taskVersions">,
    tasks: (query: Query<"tasks">) => tasks.list(query),
    queuedTasks: (query: Query<"queuedTasks">) => tasks.queued(query),
    queueDepths: (() => tasks.queueDepths()) as Same<"queueDepths">,
    liveTasksOf: (nodeId: Query<"liveTasksOf">) => tasks.liveOf(nodeId),
    orphanedTasks: (...query: Parameters<Store["orphanedTasks"]>) => tasks.orphaned(...query),
    liveAssignments: ((owner) => tasks.liveAssignments(owner)) as Same<"liveAssignments">,
    cancellingTasks: (owner: Query<"cancellingTasks">) => tasks.cancelling(owner),
    overdueTasks: (query: Query<"overdueTasks">) => tasks.overdue(query),
    output: ((taskId) => tasks.output(taskId)) as Same<"output">,
    node: ((id) => nodes.get(id)) as Same<"node">,
    nodes: ((query) => nodes.list(query)) as Same<"nodes">,
    nodeCounts: (() => nodes.counts()) as Same<"nodeCounts">,
    standing: ((nodeId, wallet) => nodes.standing(nodeId, wallet)) as Same<"standing">,
    receipt: (id: Query<"receipt">) => receipts.get(id),
    receipts: (query: Query<"receipts">) => receipts.list(query),
    unbatchedReceipts: (...query: Parameters<Store["unbatchedReceipts"]>) => receipts.unbatched(...query),
    unbatched: (() => meta.unbatched()) as Same<"unbatched">,
    receiptsWithResult: (before: number, limit: number) => receipts.withResult(before, limit),
    referredDigests: ((digests) => receipts.referredDigests(digests)) as Same<"referredDigests">,
    batch: ((id) => batches.get(id)) as Same<"batch">,
    batches: ((query) => batches.list(query)) as Same<"batches">,
    totals: (() => meta.totals()) as Same<"totals">,
  };
  return { writes, reads };
}

/** Every operation by its name. */
export type Operations = ReturnType<typeof operationsOn>["writes"] & ReturnType<typeof operationsOn>["reads"];
