import type { Address, Hex } from "@proof-of-compute/proto";
import type { Owner } from "../domain/owner.ts";
import type { Receipt } from "../domain/receipt.ts";
import type { Task, TaskState } from "../domain/task.ts";
import type { Page, PageQuery } from "./pages.ts";

/** Tasks with their assignments, and small outputs. Each write names the version that it read. */
export interface TaskStore {
  /** Adds a task of version 1. If the id is taken, writes nothing and returns the stored task. */
  insertTask(task: Task): Promise<{ readonly task: Task; readonly created: boolean }>;
  /**
   * Replaces the task if the stored version is `task.version - 1`; otherwise returns false and writes nothing. The same
   * atomic write stores the `receipt` of the change, and `output` as the task's result. The request (requester, kind,
   * spec, createdAt, deadline, requestDigest) never changes.
   */
  saveTask(task: Task, made?: { readonly receipt?: Receipt; readonly output?: Uint8Array }): Promise<boolean>;
  /** The receipts in a task have no `batchId`; ReceiptStore.receipt has it. */
  task(id: Hex): Promise<Task | null>;
  /** Versions of these tasks, as far as they are stored, in no order. */
  taskVersions(ids: readonly Hex[]): Promise<{ readonly id: Hex; readonly version: number }[]>;
  /** Newest first: by createdAt, then id. */
  tasks(
    query: PageQuery & { readonly requester?: Address; readonly states?: readonly TaskState[] },
  ): Promise<Page<Task>>;
  /**
   * Queued tasks that are ready (their notBefore has passed), at most `limit` for each requester, the longest ready first
   * (by notBefore, then id), without `excluded` ids. Requesters come in the given order.
   */
  queuedTasks(query: {
    readonly requesters: readonly Address[];
    readonly now: number;
    readonly limit: number;
    readonly excluded?: readonly Hex[];
  }): Promise<Task[]>;
  /** The number of queued tasks of each requester, ready or not; in no order. */
  queueDepths(): Promise<{ readonly requester: Address; readonly queued: number }[]>;
  /** Running and cancelling tasks with a live assignment at this node; by id. */
  liveTasksOf(nodeId: Hex): Promise<Task[]>;
  /** Running and cancelling tasks with none of these `owners`, at most `limit`, with ids above `after`; by id. */
  orphanedTasks(owners: readonly Owner[], limit: number, after?: Hex): Promise<Task[]>;
  /** The live assignments of this owner's tasks; by task id. */
  liveAssignments(owner: Owner): Promise<{ readonly taskId: Hex; readonly assignmentId: Hex }[]>;
  /** Cancelling tasks of this owner; by id. */
  cancellingTasks(owner: Owner): Promise<Task[]>;
  /**
   * Unfinished tasks without an owner, or of `owner`, with a deadline before `now`; at most `limit`, by deadline, then
   * id.
   */
  overdueTasks(query: { readonly now: number; readonly owner: Owner; readonly limit: number }): Promise<Task[]>;
  /** The output that {@link saveTask} stored, or null. */
  output(taskId: Hex): Promise<Uint8Array | null>;
  /**
   * Removes at most `limit` tasks that ended before `before`, with their outputs; their receipts stay. Returns their
   * number.
   */
  pruneTasks(before: number, limit: number): Promise<number>;
}
