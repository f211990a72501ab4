import type { Address, Hex } from "@proof-of-compute/proto";
import type { Batch } from "../domain/batch.ts";
import type { Node, NodeStatus, Standing } from "../domain/node.ts";
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

/** What the store holds, in numbers. */
export interface StoreTotals {
  readonly tasks: Readonly<Record<TaskState, number>>;
  readonly receipts: number;
  /** Receipts that no batch carries yet, and when the oldest was accepted. */
  readonly unbatched: { readonly count: number; readonly oldestAcceptedAt?: number };
  readonly units: { readonly verified: bigint; readonly recorded: bigint };
}

/**
 * Everything that must outlive the coordinator. Each method is atomic, and its promise resolves only when the change
 * is durable; calls of one event-loop turn are committed together, in their order. A read sees every write whose promise
 * has resolved. When the store is away (not started, stopped, disk full, connection lost), methods reject with
 * UNAVAILABLE and have changed nothing, or changed it wholly.
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
  /** Newest first: by createdAt, then id. */
  tasks(
    query: PageQuery & { readonly requester?: Address; readonly states?: readonly TaskState[] },
  ): Promise<Page<Task>>;
  /** Queued tasks whose notBefore has come, longest ready first (by notBefore, then id), `excluded` ids left out. */
  queuedTasks(query: {
    readonly now: number;
    readonly limit: number;
    readonly excluded?: readonly Hex[];
  }): Promise<Task[]>;
  /** Running and cancelling tasks, for recovery after a restart. */
  liveTasks(): Promise<Task[]>;
  /** Unfinished tasks whose deadline is before `now`, at most `limit`, by deadline, then id. */
  overdueTasks(now: number, limit: number): Promise<Task[]>;
  /** The output given to {@link saveTask}, or null. */
  output(taskId: Hex): Promise<Uint8Array | null>;

  saveNode(node: Node): Promise<void>;
  /** One coalesced write of when nodes were last heard; unknown ids are passed over. */
  saveLastSeen(seen: readonly { readonly id: Hex; readonly lastSeen: number }[]): Promise<void>;
  node(id: Hex): Promise<Node | null>;
  /** By id. */
  nodes(query: PageQuery & { readonly wallet?: Address; readonly status?: NodeStatus }): Promise<Page<Node>>;
  standing(nodeId: Hex, wallet: Address): Promise<Standing | null>;
  saveStandings(standings: readonly Standing[]): Promise<void>;

  receipt(id: Hex): Promise<Receipt | null>;
  /** By receipt id, which is by time. */
  receipts(query: PageQuery & { readonly provider?: Address; readonly batchId?: number }): Promise<Page<Receipt>>;
  /** Receipts that no batch carries, oldest first: by acceptedAt, then id. */
  unbatchedReceipts(limit: number): Promise<Receipt[]>;
  /** Receipts accepted before `before` whose result was not forgotten, oldest first: by acceptedAt, then id. */
  receiptsWithResult(before: number, limit: number): Promise<Receipt[]>;
  /** Forgets the results of these receipts, their {@link output} included; the receipts stay. Safe to repeat. */
  forgetResults(receipts: readonly Pick<Receipt, "receiptId" | "taskId">[]): Promise<void>;

  /**
   * Closes a batch: stores it and stamps its receipts, all or nothing. False, and nothing written, unless its id follows
   * the last one (1 at first) and each of its receipts is stored and unstamped.
   */
  insertBatch(batch: Batch): Promise<boolean>;
  /**
   * Updates what may change of a batch; its content never does. An absent `transaction` or `block` stays as it is,
   * but that a `closed` batch is in no block.
   * Throws NOT_FOUND for an unknown id.
   */
  updateBatch(id: number, change: Pick<Batch, "state" | "transaction" | "block">): Promise<void>;
  batch(id: number): Promise<Batch | null>;
  lastBatch(): Promise<Batch | null>;
  /** Every batch that is not `recorded`, by id. */
  unrecordedBatches(): Promise<Batch[]>;
  /** Newest first, without `receiptIds` (empty there). */
  batches(query: PageQuery): Promise<Page<Batch>>;

  totals(): Promise<StoreTotals>;
}
