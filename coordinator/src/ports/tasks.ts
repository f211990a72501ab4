import type { Address, Hex } from "@proof-of-compute/proto";
import type { Owner } from "../domain/owner.ts";
import type { Receipt } from "../domain/receipt.ts";
import type { Task, TaskState } from "../domain/task.ts";
import type { Page, PageQuery } from "./pages.ts";

/** Tasks with their assignments, and small outputs. A write names the version that it read. */
export interface TaskStore {
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
  /** Running and cancelling tasks whose owner is none of `owners`, at most `limit`, with ids above `after`; by id. */
  orphanedTasks(owners: readonly Owner[], limit: number, after?: Hex): Promise<Task[]>;
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
}
