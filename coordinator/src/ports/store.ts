import type { Address, Hex } from "@proof-of-compute/proto";
import type { Batch, BatchState } from "../domain/batch.ts";
import type { Node, NodeStatus, Standing } from "../domain/node.ts";
import type { CoordinatorRecord, Owner } from "../domain/owner.ts";
import type { Receipt } from "../domain/receipt.ts";
import type { Task, TaskState } from "../domain/task.ts";

/** A page of a list; `cursor` asks for the next one and is absent on the last. */
export interface Page<T> {
  readonly items: readonly T[];
  readonly cursor?: string;
}

/** Which page: at most `limit` items, after `cursor`. An unreadable cursor throws INVALID_REQUEST. */
export interface PageQuery {
  readonly limit: number;
  readonly cursor?: string;
}

/** What the store holds, in numbers. To count it may take a while. */
export interface StoreTotals {
  readonly tasks: Readonly<Record<TaskState, number>>;
  readonly receipts: number;
  readonly unbatched: Unbatched;
  readonly quarantined: { readonly count: number; readonly units: bigint };
  readonly units: { readonly verified: bigint; readonly recorded: bigint };
}

/** Receipts that no batch carries yet, those in quarantine left out, and when the oldest was accepted. */
export interface Unbatched {
  readonly count: number;
  readonly oldestAcceptedAt?: number;
}

/**
 * Everything that must outlive a coordinator, shared by all of a network. Each method is atomic, and its promise resolves
 * only when the change is durable; calls of one event-loop turn are committed together, in their order. A read sees every
 * write whose promise has resolved, here or at another coordinator. When the store is away (not started, stopped, disk
 * full, connection lost), methods reject with UNAVAILABLE and have changed nothing, or changed it wholly.
 */
export interface Store {
  /** Opens it. Safe to repeat. Rejects with UNAVAILABLE, saying why, when another coordinator holds an embedded store. */
  start(): Promise<void>;
  /** Commits what waits, then closes. Safe to repeat. */
  stop(): Promise<void>;

  /**
   * Binds the store to one contract, at first use; later only compares. Throws STORE_BOUND_ELSEWHERE for another pair
   * unless `rebind`.
   */
  bind(contract: { readonly chainId: number; readonly address: Address }, rebind: boolean): Promise<void>;
  /** The contract that the store is bound to, or null before its first use with one. */
  boundTo(): Promise<{ readonly chainId: number; readonly address: Address } | null>;
  /** 32 random bytes under a name, drawn at first use and the same for every coordinator from then on. Never logged. */
  secret(name: string): Promise<Uint8Array>;

  /** Makes a coordinator known to its peers, in the place of an earlier run of the same name. */
  register(coordinator: CoordinatorRecord): Promise<void>;
  /** A sign of life: its `beat` grows. False when another run has the name now, or nobody. */
  beat(owner: Owner): Promise<boolean>;
  /** Removes the coordinator, if that run still has the name. */
  deregister(owner: Owner): Promise<void>;
  /** By id. */
  coordinators(): Promise<CoordinatorRecord[]>;

  /** Who holds a named lock, or null. A lock is an economy, never a guarantee: its holder may be paused and come back. */
  lockHolder(name: string): Promise<Owner | null>;
  /** Takes a lock that `from` holds (null: nobody); false when that is not so any more. */
  takeLock(name: string, owner: Owner, from: Owner | null): Promise<boolean>;
  /** Gives the lock back, if `owner` still holds it. */
  releaseLock(name: string, owner: Owner): Promise<void>;

  /** Adds a task (its version is 1). When the id is taken, nothing is written and the stored task comes back. */
  insertTask(task: Task): Promise<{ readonly task: Task; readonly created: boolean }>;
  /**
   * Replaces the task when the stored version is `task.version - 1`; false, and nothing written, otherwise. A receipt
   * that the change made is stored in the same atom, and `output` as the task's result. What was asked for (requester,
   * kind, spec, createdAt, deadline, requestDigest) never changes.
   */
  saveTask(task: Task, made?: { readonly receipt?: Receipt; readonly output?: Uint8Array }): Promise<boolean>;
  /** The receipts in a task are as accepted, without `batchId`: {@link receipt} knows the batch. */
  task(id: Hex): Promise<Task | null>;
  /** Versions of those of the tasks that are stored, in no order. */
  taskVersions(ids: readonly Hex[]): Promise<{ readonly id: Hex; readonly version: number }[]>;
  /** Newest first: by createdAt, then id. */
  tasks(
    query: PageQuery & { readonly requester?: Address; readonly states?: readonly TaskState[] },
  ): Promise<Page<Task>>;
  /**
   * Queued tasks whose notBefore has come, for each of the requesters at most `limit`, longest ready first (by
   * notBefore, then id), one requester after the other as given, `excluded` ids left out.
   */
  queuedTasks(query: {
    readonly requesters: readonly Address[];
    readonly now: number;
    readonly limit: number;
    readonly excluded?: readonly Hex[];
  }): Promise<Task[]>;
  /** How many tasks of each requester are queued, those whose notBefore has not come included; in no order. */
  queueDepths(): Promise<{ readonly requester: Address; readonly queued: number }[]>;
  /** Running and cancelling tasks whose live assignment is this node's; by id. */
  liveTasksOf(nodeId: Hex): Promise<Task[]>;
  /** Running and cancelling tasks whose owner is none of `owners`, at most `limit`; by id. */
  orphanedTasks(owners: readonly Owner[], limit: number): Promise<Task[]>;
  /** The live assignments of this owner's tasks; by task id. */
  liveAssignments(owner: Owner): Promise<{ readonly taskId: Hex; readonly assignmentId: Hex }[]>;
  /** Cancelling tasks of this owner; by id. */
  cancellingTasks(owner: Owner): Promise<Task[]>;
  /** Unfinished tasks that are nobody's or `owner`'s, and whose deadline is before `now`; at most `limit`, by deadline, then id. */
  overdueTasks(query: { readonly now: number; readonly owner: Owner; readonly limit: number }): Promise<Task[]>;
  /** The output given to {@link saveTask}, or null. */
  output(taskId: Hex): Promise<Uint8Array | null>;
  /** Removes tasks that ended before `before`, with their outputs, at most `limit`; their receipts stay. Returns how many. */
  pruneTasks(before: number, limit: number): Promise<number>;

  /** Stores a node that opened a session with `node.owner`, whoever had it before. */
  joinNode(node: Node): Promise<void>;
  /** Stores a change of a node; false, and nothing written, unless its stored owner is `node.owner`. */
  saveNode(node: Node): Promise<boolean>;
  /**
   * One coalesced write of when an owner's nodes were last heard. Returns the ids whose stored owner is another, which
   * stay as they are; unknown ones are passed over.
   */
  saveLastSeen(owner: Owner, seen: readonly { readonly id: Hex; readonly lastSeen: number }[]): Promise<Hex[]>;
  /** Every node that is not offline and whose owner is none of `owners` is offline from now on. Returns how many. */
  releaseNodes(owners: readonly Owner[]): Promise<number>;
  node(id: Hex): Promise<Node | null>;
  /** By id. */
  nodes(
    query: PageQuery & { readonly wallet?: Address; readonly status?: NodeStatus; readonly coordinatorId?: string },
  ): Promise<Page<Node>>;
  /** How many nodes there are of each status. */
  nodeCounts(): Promise<Readonly<Record<NodeStatus, number>>>;
  /** Removes nodes that are offline, were last seen before `before` and never had a valid result; returns how many. */
  pruneNodes(before: number, limit: number): Promise<number>;
  standing(nodeId: Hex, wallet: Address): Promise<Standing | null>;
  saveStandings(standings: readonly Standing[]): Promise<void>;

  receipt(id: Hex): Promise<Receipt | null>;
  /** By receipt id, which is by time. */
  receipts(
    query: PageQuery & { readonly provider?: Address; readonly batchId?: number; readonly quarantined?: true },
  ): Promise<Page<Receipt>>;
  /** Receipts that no batch carries, those in quarantine left out, oldest first: by acceptedAt, then id. */
  unbatchedReceipts(limit: number): Promise<Receipt[]>;
  /** How many those are. Cheap. */
  unbatched(): Promise<Unbatched>;
  /** Receipts accepted before `before` whose result was not forgotten, oldest first: by acceptedAt, then id. */
  receiptsWithResult(before: number, limit: number): Promise<Receipt[]>;
  /** Forgets the results of these receipts, their {@link output} included; the receipts stay. Safe to repeat. */
  forgetResults(receipts: readonly Pick<Receipt, "receiptId" | "taskId">[]): Promise<void>;
  /** Puts every receipt that no batch carries and that was accepted before `before` into quarantine; returns how many. */
  quarantineReceipts(before: number): Promise<number>;
  /** Takes receipts out of quarantine: a batch may carry them. */
  releaseReceipts(ids: readonly Hex[]): Promise<void>;

  /**
   * Closes a batch: stores it and stamps its receipts, all or nothing. False, and nothing written, unless its id follows
   * the last one (1 at first) and each of its receipts is stored, unstamped and not in quarantine. An `imported` batch
   * has no receipts and is stored in the state that it has.
   */
  insertBatch(batch: Batch): Promise<boolean>;
  /**
   * Updates what may change of a batch; its content never does. An absent `transaction` or `block` stays as it is,
   * but that a `closed` batch is in no block. With `from`, it is changed only while it is in that state, and false otherwise:
   * who was paused since it read the batch takes nothing back. Throws NOT_FOUND for an unknown id.
   */
  updateBatch(id: number, change: Pick<Batch, "state" | "transaction" | "block">, from?: BatchState): Promise<boolean>;
  /**
   * Removes the last batch if it is `closed`, and frees its receipts. False, and nothing changed, otherwise. For
   * `npm run reconcile` alone, after the chain was found to hold another batch of that id.
   */
  withdrawBatch(id: number): Promise<boolean>;
  batch(id: number): Promise<Batch | null>;
  /** Newest first, without `receiptIds` (empty there); with `unrecorded` those alone that are not recorded. */
  batches(query: PageQuery & { readonly unrecorded?: true }): Promise<Page<Batch>>;

  totals(): Promise<StoreTotals>;
}
