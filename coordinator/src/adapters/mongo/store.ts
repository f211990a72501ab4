import type { Logger } from "pino";
import { ComputeError } from "../../domain/errors.ts";
import type { TaskState } from "../../domain/task.ts";
import type { Clock } from "../../ports/clock.ts";
import type { Store, StoreTotals } from "../../ports/store.ts";
import { systemClock } from "../system-clock.ts";
import { MongoCluster } from "./cluster.ts";
import type { MongoConnection } from "./connection.ts";
import { aloneInBoth, Lane } from "./lane.ts";
import { BatchLedger, type BatchSums } from "./ledger.ts";
import { Nodes } from "./nodes.ts";
import { ReceiptCopies } from "./receipt-copies.ts";
import { Receipts, type Sum } from "./receipts.ts";
import { TaskQueries } from "./task-queries.ts";
import { TaskWrites } from "./task-writes.ts";

export interface MongoStoreComponents {
  /** Started and stopped with the store. */
  readonly connection: Pick<MongoConnection, "start" | "stop" | "trip" | "inSession">;
  readonly logger: Logger;
  readonly clock?: Pick<Clock, "every">;
}

/** How often the flags of copied tasks are removed, in milliseconds. */
const UNFLAG_MS = 1_000;
/** How often receipts are copied that a crashed coordinator left, in milliseconds. */
const SWEEP_MS = 10_000;
/** One more than a batch holds; nobody needs a higher count. */
const COUNTED_UNBATCHED = 50_001;
/** Attempts to read consistent sums. Batches close seconds apart, and reading takes milliseconds. */
const LOOKS = 5;

/**
 * The store of several coordinators: a MongoDB replica set or sharded cluster, without multi-document transactions. The
 * task document is authoritative, receipts are copies of it, and batches are immutable under their unique id. After a
 * crash, any coordinator can finish the work (docs/adr/mongodb-without-transactions.md).
 */
export class MongoStore implements Store {
  readonly #components: Required<MongoStoreComponents>;
  readonly #copies: ReceiptCopies;
  readonly #taskWrites: TaskWrites;
  readonly #taskQueries: TaskQueries;
  readonly #receipts: Receipts;
  readonly #ledger: BatchLedger;
  readonly #nodes: Nodes;
  readonly #cluster: MongoCluster;
  /** Calls about batches and quarantine run one after another, and so do calls about the cluster. */
  readonly #ledgerCalls = new Lane<never, never>(async () => []);
  readonly #clusterCalls = new Lane<never, never>(async () => []);
  readonly #pending = new Set<Promise<unknown>>();
  #timers: (() => void)[] | undefined;

  constructor({ clock = systemClock, ...components }: MongoStoreComponents) {
    const { connection } = components;
    this.#components = { clock, ...components };
    this.#copies = new ReceiptCopies(connection);
    this.#taskWrites = new TaskWrites(connection, this.#copies);
    this.#taskQueries = new TaskQueries(connection);
    this.#receipts = new Receipts(connection);
    this.#ledger = new BatchLedger(connection, this.#receipts);
    this.#nodes = new Nodes(connection);
    this.#cluster = new MongoCluster(connection);
  }

  async start(): Promise<void> {
    if (this.#timers) return;
    const { connection, clock } = this.#components;
    await connection.start();
    await this.#copies.sweep();
    this.#timers ??= [
      clock.every(UNFLAG_MS, () => this.#inBackground(() => this.#copies.unflag())),
      clock.every(SWEEP_MS, () => this.#inBackground(() => this.#copies.sweep())),
    ];
  }

  async stop(): Promise<void> {
    if (!this.#timers) return;
    for (const cancel of this.#timers) cancel();
    this.#timers = undefined;
    while (this.#pending.size > 0) await Promise.allSettled(this.#pending);
    await this.#copies.unflag().catch(() => undefined);
    await this.#components.connection.stop();
  }

  bind: Store["bind"] = (contract, rebind) => this.#callCluster(() => this.#cluster.bind(contract, rebind));
  boundTo: Store["boundTo"] = () => this.#callCluster(() => this.#cluster.boundTo());
  secret: Store["secret"] = (name) => this.#callCluster(() => this.#cluster.secret(name));
  register: Store["register"] = (coordinator) => this.#callCluster(() => this.#cluster.register(coordinator));
  beat: Store["beat"] = (owner) => this.#callCluster(() => this.#cluster.beat(owner));
  deregister: Store["deregister"] = (owner) => this.#callCluster(() => this.#cluster.deregister(owner));
  coordinators: Store["coordinators"] = () => this.#callCluster(() => this.#cluster.coordinators());
  lockHolder: Store["lockHolder"] = (name) => this.#callCluster(() => this.#cluster.lockHolder(name));
  takeLock: Store["takeLock"] = (name, owner, from) =>
    this.#callCluster(() => this.#cluster.takeLock(name, owner, from));
  releaseLock: Store["releaseLock"] = (name, owner) => this.#callCluster(() => this.#cluster.releaseLock(name, owner));

  insertTask: Store["insertTask"] = (task) => this.#call(() => this.#taskWrites.insert(task));
  saveTask: Store["saveTask"] = (task, made) => this.#call(() => this.#taskWrites.save(task, made));
  task: Store["task"] = (id) => this.#call(() => this.#taskQueries.get(id));
  taskVersions: Store["taskVersions"] = (ids) => this.#call(() => this.#taskQueries.versions(ids));
  tasks: Store["tasks"] = (query) => this.#call(() => this.#taskQueries.list(query));
  queuedTasks: Store["queuedTasks"] = (query) => this.#call(() => this.#taskQueries.queued(query));
  queueDepths: Store["queueDepths"] = () => this.#call(() => this.#taskQueries.depths());
  liveTasksOf: Store["liveTasksOf"] = (nodeId) => this.#call(() => this.#taskQueries.liveOf(nodeId));
  orphanedTasks: Store["orphanedTasks"] = (owners, limit, after) =>
    this.#call(() => this.#taskQueries.orphaned(owners, limit, after));
  liveAssignments: Store["liveAssignments"] = (owner) => this.#call(() => this.#taskQueries.liveAssignments(owner));
  cancellingTasks: Store["cancellingTasks"] = (owner) => this.#call(() => this.#taskQueries.cancelling(owner));
  overdueTasks: Store["overdueTasks"] = (query) => this.#call(() => this.#taskQueries.overdue(query));
  output: Store["output"] = (taskId) => this.#call(() => this.#taskQueries.output(taskId));
  pruneTasks: Store["pruneTasks"] = (before, limit) => this.#call(() => this.#taskWrites.prune(before, limit));

  joinNode: Store["joinNode"] = (node) => this.#call(() => this.#nodes.join(node));
  saveNode: Store["saveNode"] = (node) => this.#call(() => this.#nodes.save(node));
  saveLastSeen: Store["saveLastSeen"] = (owner, seen) => this.#call(() => this.#nodes.saveLastSeen(owner, seen));
  releaseNodes: Store["releaseNodes"] = (owners) => this.#call(() => this.#nodes.release(owners));
  node: Store["node"] = (id) => this.#call(() => this.#nodes.get(id));
  nodes: Store["nodes"] = (query) => this.#call(() => this.#nodes.list(query));
  nodeCounts: Store["nodeCounts"] = () => this.#call(() => this.#nodes.counts());
  pruneNodes: Store["pruneNodes"] = (before, limit) => this.#call(() => this.#nodes.prune(before, limit));
  standing: Store["standing"] = (nodeId, wallet) => this.#call(() => this.#nodes.standing(nodeId, wallet));
  saveStandings: Store["saveStandings"] = (standings) => this.#call(() => this.#nodes.saveStandings(standings));

  receipt: Store["receipt"] = (id) => this.#call(() => this.#receipts.get(id));
  receipts: Store["receipts"] = (query) => this.#call(() => this.#receipts.list(query));
  unbatchedReceipts: Store["unbatchedReceipts"] = (limit, kinds) =>
    this.#call(async () => {
      await this.#copies.sweep();
      await this.#ledger.finish();
      return this.#receipts.free(limit, kinds);
    });
  unbatched: Store["unbatched"] = () =>
    this.#call(async () => {
      await this.#ledger.finish();
      return this.#receipts.unbatched(COUNTED_UNBATCHED);
    });
  receiptsWithResult: Store["receiptsWithResult"] = (before, limit) =>
    this.#call(() => this.#receipts.withResult(before, limit));
  forgetResults: Store["forgetResults"] = (receipts) => this.#callLedger(() => this.#receipts.forgetResults(receipts));
  referredDigests: Store["referredDigests"] = (digests) =>
    this.#call(async () => {
      await this.#copies.sweep();
      return this.#receipts.referredDigests(digests);
    });
  /** Pauses the saving of tasks, so that the receipts that it finds do not depend on timing. */
  quarantineReceipts: Store["quarantineReceipts"] = (before) =>
    this.#call(() =>
      aloneInBoth(this.#ledgerCalls, this.#taskWrites, async () => {
        await this.#copies.sweep();
        await this.#ledger.finish();
        return this.#receipts.quarantine(before);
      }),
    );
  releaseReceipts: Store["releaseReceipts"] = (ids) => this.#callLedger(() => this.#receipts.release(ids));

  insertBatch: Store["insertBatch"] = (batch) =>
    this.#callLedger(async () => {
      await this.#copies.sweep();
      return this.#ledger.insert(batch);
    });
  updateBatch: Store["updateBatch"] = (id, change, from) =>
    this.#callLedger(() => this.#ledger.update(id, change, from));
  withdrawBatch: Store["withdrawBatch"] = (id) => this.#callLedger(() => this.#ledger.withdraw(id));
  batch: Store["batch"] = (id) => this.#call(() => this.#ledger.get(id));
  batches: Store["batches"] = (query) => this.#call(() => this.#ledger.list(query));

  totals: Store["totals"] = () => this.#call(() => this.#totals());

  /** Reads consistent sums: repeats the reads if a batch took receipts meanwhile. */
  async #totals(): Promise<StoreTotals> {
    let batched = await this.#ledger.sums();
    for (let looks = 1; ; looks++) {
      const before = batched;
      // From here on, all receipts of these batches are stamped.
      await this.#ledger.finish();
      const [tasks, free, quarantined] = await Promise.all([
        this.#taskQueries.counts(),
        this.#receipts.sum("free"),
        this.#receipts.sum("quarantined"),
      ]);
      batched = await this.#ledger.sums();
      const still = batched.receipts === before.receipts && batched.units === before.units;
      if (still || looks === LOOKS) return toTotals({ tasks, batched, free, quarantined });
    }
  }

  /** Runs a call about batches after the receipts of all earlier saves. */
  #callLedger<T>(run: () => Promise<T>): Promise<T> {
    return this.#call(() => {
      const written = this.#taskWrites.idle();
      return this.#ledgerCalls.alone(async () => {
        await written;
        return run();
      });
    });
  }

  #callCluster<T>(run: () => Promise<T>): Promise<T> {
    return this.#call(() => this.#clusterCalls.alone(run));
  }

  /** Runs a call that stop() waits for. */
  async #call<T>(run: () => Promise<T>): Promise<T> {
    if (!this.#timers) throw new ComputeError("UNAVAILABLE", "the store is not open");
    const call = run();
    this.#pending.add(call);
    try {
      return await call;
    } finally {
      this.#pending.delete(call);
    }
  }

  #inBackground(run: () => Promise<void>): void {
    // Other calls report that MongoDB is unavailable; a later sweep copies the rest.
    this.#call(run).catch((error) => this.#components.logger.debug({ err: error }, "receipts could not be copied"));
  }
}

interface Sums {
  readonly tasks: ReadonlyMap<TaskState, number>;
  readonly batched: BatchSums;
  readonly free: Sum;
  readonly quarantined: Sum;
}

function toTotals({ tasks, batched, free, quarantined }: Sums): StoreTotals {
  return {
    tasks: {
      queued: tasks.get("queued") ?? 0,
      running: tasks.get("running") ?? 0,
      cancelling: tasks.get("cancelling") ?? 0,
      verified: tasks.get("verified") ?? 0,
      failed: tasks.get("failed") ?? 0,
      cancelled: tasks.get("cancelled") ?? 0,
    },
    receipts: batched.receipts + free.count + quarantined.count,
    unbatched: {
      count: free.count,
      ...(free.oldestAcceptedAt !== undefined && { oldestAcceptedAt: free.oldestAcceptedAt }),
    },
    quarantined: { count: quarantined.count, units: quarantined.units },
    units: { verified: batched.units + free.units + quarantined.units, recorded: batched.recorded },
  };
}
