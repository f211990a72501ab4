import type { Address, Hex } from "@proof-of-compute/proto";
import { ComputeError } from "./errors.ts";
import type { Receipt, TaskKindName } from "./receipt.ts";

/**
 * - `queued`: waits for a node (or for `notBefore`).
 * - `running`: one assignment is live.
 * - `cancelling`: its requester cancelled; the node has not yet said that it stopped.
 * - `verified`: its result was checked and receipted. Final.
 * - `failed`: too many attempts, or its deadline passed. Final: the dead letter, kept with its whole history.
 * - `cancelled`: Final.
 */
export type TaskState = "queued" | "running" | "cancelling" | "verified" | "failed" | "cancelled";

/** From which states a task may go where. Every write is guarded by it and by the task's version. */
const TRANSITIONS: Record<TaskState, readonly TaskState[]> = {
  queued: ["running", "cancelled", "failed"],
  running: ["queued", "cancelling", "verified", "failed"],
  cancelling: ["cancelled", "verified", "failed"],
  verified: [],
  failed: [],
  cancelled: [],
};

/**
 * How one attempt stands or ended: `live`, `accepted` (receipted), `rejected` (its result failed the check), `failed`
 * (the task failed on the node), `declined` (busy or unsupported), `lost` (lease lost, withdrawn or the node's own
 * fault), `cancelled`.
 */
export type AssignmentState = "live" | "accepted" | "rejected" | "failed" | "declined" | "lost" | "cancelled";

/** One attempt at a task by one node. */
export interface Assignment {
  /** UUIDv7; the fencing token. */
  readonly id: Hex;
  readonly nodeId: Hex;
  readonly wallet: Address;
  readonly state: AssignmentState;
  /** Milliseconds since 1970, coordinator's clock; likewise below. */
  readonly assignedAt: number;
  readonly endedAt?: number;
  /** A stable code or the node's words; for people. */
  readonly reason?: string;
  /** Present exactly when `accepted`. */
  readonly receipt?: Receipt;
}

/** One requested computation: the truth about it, in one document, on both stores. */
export interface Task {
  readonly id: Hex;
  /** Grows by one a write; a write names the version it read, so a stale writer changes nothing. */
  readonly version: number;
  readonly requester: Address;
  readonly kind: TaskKindName;
  /** Serialized TaskSpec of the proto. */
  readonly spec: Uint8Array;
  readonly state: TaskState;
  readonly createdAt: number;
  readonly deadline: number;
  /** A retry waits until then; equals createdAt at first. */
  readonly notBefore: number;
  /** Task errors from different nodes so far. */
  readonly attempts: number;
  readonly assignments: Readonly<Record<Hex, Assignment>>;
  /** Why it failed or was cancelled, once it did. */
  readonly error?: { readonly code: string; readonly detail: string };
  /** SHA-256 of the request's body when it came with an Idempotency-Key. */
  readonly requestDigest?: Hex;
}

/** The assignment that may still bring a result, if there is one. */
export function liveAssignment(task: Task): Assignment | undefined {
  for (const id in task.assignments) {
    const assignment = task.assignments[id as Hex]!;
    if (assignment.state === "live") return assignment;
  }
  return undefined;
}

/** Whether nothing can happen to the task any more. */
export function isFinal(task: Task): boolean {
  return TRANSITIONS[task.state].length === 0;
}

type Change = Partial<Omit<Task, "id" | "version">> & { readonly state: TaskState };

function move(task: Task, change: Change): Task {
  if (!TRANSITIONS[task.state].includes(change.state)) {
    throw new ComputeError("CONFLICT", `a ${task.state} task cannot become ${change.state}`);
  }
  return { ...task, ...change, version: task.version + 1 };
}

function withAssignment(task: Task, assignment: Assignment): Record<Hex, Assignment> {
  return { ...task.assignments, [assignment.id]: assignment };
}

function requireLive(task: Task, assignmentId: Hex): Assignment {
  const assignment = task.assignments[assignmentId];
  if (assignment?.state !== "live") throw new ComputeError("CONFLICT", "the assignment has ended");
  return assignment;
}

/** queued → running: gives the task to a node. */
export function assign(task: Task, assignment: Pick<Assignment, "id" | "nodeId" | "wallet" | "assignedAt">): Task {
  if (task.state !== "queued") throw new ComputeError("CONFLICT", `a ${task.state} task cannot be assigned`);
  return move(task, { state: "running", assignments: withAssignment(task, { ...assignment, state: "live" }) });
}

/** running or cancelling → verified: the checked result of the live assignment. */
export function accept(task: Task, receipt: Receipt): Task {
  const assignment = requireLive(task, receipt.receiptId);
  const ended: Assignment = { ...assignment, state: "accepted", endedAt: receipt.acceptedAt, receipt };
  return move(task, { state: "verified", assignments: withAssignment(task, ended) });
}

/** How an attempt ended without a receipt. */
export interface Ending {
  readonly state: Exclude<AssignmentState, "live" | "accepted">;
  readonly reason: string;
  readonly at: number;
}

/**
 * running → queued (or failed once `maxAttempts` nodes reported task errors), cancelling → cancelled: ends the live
 * assignment without a receipt. Only task errors from different nodes count as attempts.
 */
export function endAssignment(
  task: Task,
  assignmentId: Hex,
  ending: Ending,
  retry: { readonly maxAttempts: number; readonly notBefore: number },
): Task {
  const assignment = requireLive(task, assignmentId);
  const failedHereBefore = Object.values(task.assignments).some(
    (other) => other.nodeId === assignment.nodeId && other.state === "failed",
  );
  const attempts = task.attempts + (ending.state === "failed" && !failedHereBefore ? 1 : 0);
  const assignments = withAssignment(task, {
    ...assignment,
    state: ending.state,
    endedAt: ending.at,
    reason: ending.reason,
  });
  if (task.state === "cancelling") {
    return move(task, { state: "cancelled", assignments, attempts });
  }
  if (attempts >= retry.maxAttempts) {
    const error = { code: "TOO_MANY_ATTEMPTS", detail: `${attempts} nodes failed; the last said: ${ending.reason}` };
    return move(task, { state: "failed", assignments, attempts, error });
  }
  return move(task, { state: "queued", assignments, attempts, notBefore: retry.notBefore });
}

/** queued → cancelled, running → cancelling. */
export function cancel(task: Task): Task {
  const error = { code: "CANCELLED", detail: "cancelled by its requester" };
  if (task.state === "queued") return move(task, { state: "cancelled", error });
  if (task.state === "running") return move(task, { state: "cancelling", error });
  throw new ComputeError("NOT_CANCELLABLE", `the task is ${task.state}`);
}

/** queued, running or cancelling → failed: its deadline passed. A live assignment ends as cancelled. */
export function expire(task: Task, at: number): Task {
  const live = liveAssignment(task);
  const assignments = live
    ? withAssignment(task, { ...live, state: "cancelled", endedAt: at, reason: "DEADLINE_PASSED" })
    : task.assignments;
  const error = { code: "DEADLINE_PASSED", detail: "its deadline passed before a result was accepted" };
  return move(task, { state: "failed", assignments, error });
}
