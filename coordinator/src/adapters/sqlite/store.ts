import type { Logger } from "pino";
import { ComputeError } from "../../domain/errors.ts";
import type { Page } from "../../ports/pages.ts";
import type { Store } from "../../ports/store.ts";
import { readReceipt, writeReceipt } from "./receipts.ts";
import { readTask, textOf, writeTask } from "./task-rows.ts";
import { StoreThread } from "./thread.ts";

/**
 * The embedded store: one SQLite file of one coordinator, in a thread of its own, because a commit waits for the disk.
 * The thread runs calls in order; a read sees only whole commits.
 */
export class SqliteStore implements Store {
  readonly #logger: Logger;
  readonly #path: string;
  readonly #lost = Promise.withResolvers<ComputeError>();
  #opening: Promise<StoreThread> | undefined;
  #thread: StoreThread | undefined;

  /** `path` is the database file; a missing folder is created. */
  constructor({ logger }: { logger: Logger }, { path }: { path: string }) {
    this.#logger = logger;
    this.#path = path;
  }

  /** Resolves when the thread has failed; then the store stays unavailable. */
  get lost(): Promise<ComputeError> {
    return this.#lost.promise;
  }

  async start(): Promise<void> {
    if (this.#thread) return;
    this.#opening ??= StoreThread.open(this.#path, this.#logger, this.#lost.resolve);
    try {
      this.#thread = await this.#opening;
    } finally {
      this.#opening = undefined;
    }
    this.#logger.info({ path: this.#path }, "store opened");
  }

  async stop(): Promise<void> {
    const thread = this.#thread;
    this.#thread = undefined;
    await thread?.close();
  }

  bind: Store["bind"] = (contract, rebind) => this.#call("bind", contract, rebind);
  boundTo: Store["boundTo"] = () => this.#call("boundTo");
  secret: Store["secret"] = (name) => this.#call("secret", name);

  register: Store["register"] = (coordinator) => this.#call("register", coordinator);
  beat: Store["beat"] = (owner) => this.#call("beat", owner);
  deregister: Store["deregister"] = (owner) => this.#call("deregister", owner);
  coordinators: Store["coordinators"] = () => this.#call("coordinators");

  lockHolder: Store["lockHolder"] = (name) => this.#call("lockHolder", name);
  takeLock: Store["takeLock"] = (name, owner, from) => this.#call("takeLock", name, owner, from);
  releaseLock: Store["releaseLock"] = (name, owner) => this.#call("releaseLock", name, owner);

  insertTask: Store["insertTask"] = async (task) => {
    const stored = await this.#call("insertTask", writeTask(task));
    return stored ? { task: readTask(stored), created: false } : { task, created: true };
  };
  saveTask: Store["saveTask"] = (task, made) =>
    this.#call(
      "saveTask",
      writeTask(task),
      made?.receipt && writeReceipt(made.receipt, made.output),
      made?.output && textOf(made.output),
    );
  task: Store["task"] = async (id) => optional(await this.#call("task", id), readTask);
  taskVersions: Store["taskVersions"] = (ids) => this.#call("taskVersions", ids);
  tasks: Store["tasks"] = async (query) => pageOf(await this.#call("tasks", query), readTask);
  queuedTasks: Store["queuedTasks"] = async (query) => (await this.#call("queuedTasks", query)).map(readTask);
  queueDepths: Store["queueDepths"] = () => this.#call("queueDepths");
  liveTasksOf: Store["liveTasksOf"] = async (nodeId) => (await this.#call("liveTasksOf", nodeId)).map(readTask);
  orphanedTasks: Store["orphanedTasks"] = async (owners, limit, after) =>
    (await this.#call("orphanedTasks", owners, limit, after)).map(readTask);
  liveAssignments: Store["liveAssignments"] = (owner) => this.#call("liveAssignments", owner);
  cancellingTasks: Store["cancellingTasks"] = async (owner) =>
    (await this.#call("cancellingTasks", owner)).map(readTask);
  overdueTasks: Store["overdueTasks"] = async (query) => (await this.#call("overdueTasks", query)).map(readTask);
  output: Store["output"] = (taskId) => this.#call("output", taskId);
  pruneTasks: Store["pruneTasks"] = (before, limit) => this.#call("pruneTasks", before, limit);

  joinNode: Store["joinNode"] = (node) => this.#call("joinNode", node);
  saveNode: Store["saveNode"] = (node) => this.#call("saveNode", node);
  saveLastSeen: Store["saveLastSeen"] = (owner, seen) => this.#call("saveLastSeen", owner, seen);
  releaseNodes: Store["releaseNodes"] = (owners) => this.#call("releaseNodes", owners);
  node: Store["node"] = (id) => this.#call("node", id);
  nodes: Store["nodes"] = (query) => this.#call("nodes", query);
  nodeCounts: Store["nodeCounts"] = () => this.#call("nodeCounts");
  pruneNodes: Store["pruneNodes"] = (before, limit) => this.#call("pruneNodes", before, limit);
  standing: Store["standing"] = (nodeId, wallet) => this.#call("standing", nodeId, wallet);
  saveStandings: Store["saveStandings"] = (standings) => this.#call("saveStandings", standings);

  receipt: Store["receipt"] = async (id) => optional(await this.#call("receipt", id), readReceipt);
  receipts: Store["receipts"] = async (query) => pageOf(await this.#call("receipts", query), readReceipt);
  unbatchedReceipts: Store["unbatchedReceipts"] = async (limit, kinds) =>
    (await this.#call("unbatchedReceipts", limit, kinds)).map(readReceipt);
  unbatched: Store["unbatched"] = () => this.#call("unbatched");
  receiptsWithResult: Store["receiptsWithResult"] = async (before, limit) =>
    (await this.#call("receiptsWithResult", before, limit)).map(readReceipt);
  forgetResults: Store["forgetResults"] = (receipts) =>
    this.#call(
      "forgetResults",
      receipts.map(({ receiptId, taskId }) => ({ receiptId, taskId })),
    );

  referredDigests: Store["referredDigests"] = (digests) => this.#call("referredDigests", digests);
  quarantineReceipts: Store["quarantineReceipts"] = (before) => this.#call("quarantineReceipts", before);
  releaseReceipts: Store["releaseReceipts"] = (ids) => this.#call("releaseReceipts", ids);

  insertBatch: Store["insertBatch"] = (batch) => this.#call("insertBatch", batch);
  updateBatch: Store["updateBatch"] = (id, change, from) => this.#call("updateBatch", id, change, from);
  withdrawBatch: Store["withdrawBatch"] = (id) => this.#call("withdrawBatch", id);
  batch: Store["batch"] = (id) => this.#call("batch", id);
  batches: Store["batches"] = (query) => this.#call("batches", query);

  totals: Store["totals"] = () => this.#call("totals");

  #call: StoreThread["call"] = (name, ...args) => {
    if (this.#thread) return this.#thread.call(name, ...args);
    return Promise.reject(new ComputeError("UNAVAILABLE", "the store is not open"));
  };
}

function optional<Row, Item>(row: Row | null, read: (row: Row) => Item): Item | null {
  return row === null ? null : read(row);
}

function pageOf<Row, Item>({ items, ...rest }: Page<Row>, read: (row: Row) => Item): Page<Item> {
  return { ...rest, items: items.map(read) };
}
