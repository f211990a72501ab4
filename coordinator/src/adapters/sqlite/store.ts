import type { DatabaseSync } from "node:sqlite";
import type { Logger } from "pino";
import { ComputeError } from "../../domain/errors.ts";
import type { Store } from "../../ports/store.ts";
import { Batches, ReceiptsTaken } from "./batches.ts";
import { openDatabase, storeError } from "./database.ts";
import { GroupCommit } from "./group-commit.ts";
import { Meta } from "./meta.ts";
import { Nodes } from "./nodes.ts";
import { Receipts } from "./receipts.ts";
import { Tasks } from "./tasks.ts";

interface Open {
  readonly database: DatabaseSync;
  readonly commits: GroupCommit;
  readonly meta: Meta;
  readonly tasks: Tasks;
  readonly nodes: Nodes;
  readonly receipts: Receipts;
  readonly batches: Batches;
}

/**
 * The embedded store: one SQLite file, held by one coordinator. Everything runs on the calling thread, so a read always
 * sees the last commit and never a part of one.
 */
export class SqliteStore implements Store {
  readonly #logger: Logger;
  readonly #path: string;
  #opened: Open | undefined;

  /** `path` is the database file; its folder is made when absent. */
  constructor({ logger }: { logger: Logger }, { path }: { path: string }) {
    this.#logger = logger;
    this.#path = path;
  }

  async start(): Promise<void> {
    if (this.#opened) return;
    const database = openDatabase(this.#path);
    const receipts = new Receipts(database);
    this.#opened = {
      database,
      commits: new GroupCommit({ logger: this.#logger, database }),
      meta: new Meta(database),
      tasks: new Tasks(database),
      nodes: new Nodes(database),
      receipts,
      batches: new Batches(database, receipts),
    };
    this.#logger.info({ path: this.#path }, "store opened");
  }

  async stop(): Promise<void> {
    const opened = this.#opened;
    if (!opened) return;
    this.#opened = undefined;
    opened.commits.flush();
    opened.database.close();
  }

  bind: Store["bind"] = (contract, rebind) => this.#write(({ meta }) => meta.bind(contract, rebind));

  insertTask: Store["insertTask"] = (task) => this.#write(({ tasks }) => tasks.insert(task));
  saveTask: Store["saveTask"] = (task, made) =>
    this.#write(({ tasks, receipts }) => {
      if (!tasks.save(task, made?.output)) return false;
      if (made?.receipt) receipts.insert(made.receipt);
      return true;
    });
  task: Store["task"] = (id) => this.#read(({ tasks }) => tasks.get(id));
  tasks: Store["tasks"] = (query) => this.#read(({ tasks }) => tasks.list(query));
  queuedTasks: Store["queuedTasks"] = (query) => this.#read(({ tasks }) => tasks.queued(query));
  liveTasks: Store["liveTasks"] = () => this.#read(({ tasks }) => tasks.live());
  overdueTasks: Store["overdueTasks"] = (now, limit) => this.#read(({ tasks }) => tasks.overdue(now, limit));
  output: Store["output"] = (taskId) => this.#read(({ tasks }) => tasks.output(taskId));

  saveNode: Store["saveNode"] = (node) => this.#write(({ nodes }) => nodes.save(node));
  saveLastSeen: Store["saveLastSeen"] = (seen) => this.#write(({ nodes }) => nodes.saveLastSeen(seen));
  node: Store["node"] = (id) => this.#read(({ nodes }) => nodes.get(id));
  nodes: Store["nodes"] = (query) => this.#read(({ nodes }) => nodes.list(query));
  standing: Store["standing"] = (nodeId, wallet) => this.#read(({ nodes }) => nodes.standing(nodeId, wallet));
  saveStandings: Store["saveStandings"] = (standings) => this.#write(({ nodes }) => nodes.saveStandings(standings));

  receipt: Store["receipt"] = (id) => this.#read(({ receipts }) => receipts.get(id));
  receipts: Store["receipts"] = (query) => this.#read(({ receipts }) => receipts.list(query));
  unbatchedReceipts: Store["unbatchedReceipts"] = (limit) => this.#read(({ receipts }) => receipts.unbatched(limit));

  insertBatch: Store["insertBatch"] = async (batch) => {
    try {
      return await this.#write(({ batches }) => batches.insert(batch));
    } catch (error) {
      if (error instanceof ReceiptsTaken) return false;
      throw error;
    }
  };
  updateBatch: Store["updateBatch"] = (id, change) => this.#write(({ batches }) => batches.update(id, change));
  batch: Store["batch"] = (id) => this.#read(({ batches }) => batches.get(id));
  lastBatch: Store["lastBatch"] = () => this.#read(({ batches }) => batches.last());
  unrecordedBatches: Store["unrecordedBatches"] = () => this.#read(({ batches }) => batches.unrecorded());
  batches: Store["batches"] = (query) => this.#read(({ batches }) => batches.list(query));

  totals: Store["totals"] = () => this.#read(({ meta }) => meta.totals());

  async #read<T>(query: (opened: Open) => T): Promise<T> {
    try {
      return query(this.#open());
    } catch (error) {
      throw storeError(error);
    }
  }

  async #write<T>(operation: (opened: Open) => T): Promise<T> {
    const opened = this.#open();
    return opened.commits.write(() => operation(opened));
  }

  #open(): Open {
    if (!this.#opened) throw new ComputeError("UNAVAILABLE", "the store is not open");
    return this.#opened;
  }
}
