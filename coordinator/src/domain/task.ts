import type { Address, Hex, TaskKindName } from "@proof-of-compute/proto";
import { ComputeError } from "./errors.ts";
import { isSameOwner, type Owner } from "./owner.ts";
import type { Receipt } from "./receipt.ts";

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
  /** The coordinator that follows the live assignment; present exactly while there is one. Only it ends the assignment. */
  readonly owner?: Owner;
  /** When it became final; absent before. */
  readonly endedAt?: number;
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

/** The receipt of a verified task. */
export function acceptedReceipt(task: Task): Receipt | undefined {
  return Object.values(task.assignments).find(({ receipt }) => receipt !== undefined)?.receipt;
}

/** Whether nothing can happen to the task any more. */
export function isFinal(task: Task): boolean {
  return TRANSITIONS[task.state].length === 0;
}

type Change = Partial<Omit<Task, "id" | "version" | "owner" | "endedAt">> & { readonly state: TaskState };

/** `at` counts where the new state is final. */
function move(task: Task, change: Change, at: number): Task {
  if (!TRANSITIONS[task.state].includes(change.state)) {
    throw new ComputeError("CONFLICT", `a ${task.state} task cannot become ${change.state}`);
  }
  const { owner, ...rest } = task;
  const moved = { ...rest, ...change, version: task.version + 1 };
  if (TRANSITIONS[change.state].length === 0) return { ...moved, endedAt: at };
  return owner && change.state === "cancelling" ? { ...moved, owner } : moved;
}

function withAssignment(task: Task, assignment: Assignment): Record<Hex, Assignment> {
  return { ...task.assignments, [assignment.id]: assignment };
}

function requireLive(task: Task, assignmentId: Hex): Assignment {
  const assignment = task.assignments[assignmentId];
  if (assignment?.state !== "live") throw new ComputeError("CONFLICT", "the assignment has ended");
  return assignment;
}

/** The assignment, if it is live and `owner`'s. Whoever lost it meanwhile learns so here: CONFLICT. */
function requireOwn(task: Task, assignmentId: Hex, owner: Owner): Assignment {
  const assignment = requireLive(task, assignmentId);
  if (!isSameOwner(task.owner, owner)) throw new ComputeError("CONFLICT", "another coordinator took the task over");
  return assignment;
}

/** queued → running: gives the task to a node, and its care to `owner`. */
export function assign(
  task: Task,
  assignment: Pick<Assignment, "id" | "nodeId" | "wallet" | "assignedAt">,
  owner: Owner,
): Task {
  if (task.state !== "queued") throw new ComputeError("CONFLICT", `a ${task.state} task cannot be assigned`);
  const assignments = withAssignment(task, { ...assignment, state: "live" });
  return { ...move(task, { state: "running", assignments }, assignment.assignedAt), owner };
}

/** Gives the care for a live assignment to another coordinator: the one before is gone, or the node has left it. */
export function takeOver(task: Task, owner: Owner): Task {
  if (!liveAssignment(task)) throw new ComputeError("CONFLICT", `a ${task.state} task has no assignment to take over`);
  return { ...task, version: task.version + 1, owner };
}

/**
 * running or cancelling → verified: the checked result of the live assignment. Whoever owns it: the assignment is the
 * fence, and a right result must not be lost because its coordinator was taken for dead. Of a cancel that came too late
 * nothing is left.
 */
export function accept(task: Task, receipt: Receipt): Task {
  const assignment = requireLive(task, receipt.receiptId);
  const ended: Assignment = { ...assignment, state: "accepted", endedAt: receipt.acceptedAt, receipt };
  const { error: _, ...uncancelled } = task;
  return move(uncancelled, { state: "verified", assignments: withAssignment(task, ended) }, receipt.acceptedAt);
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
  owner: Owner,
): Task {
  const assignment = requireOwn(task, assignmentId, owner);
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
    return move(task, { state: "cancelled", assignments, attempts }, ending.at);
  }
  if (attempts >= retry.maxAttempts) {
    const error = { code: "TOO_MANY_ATTEMPTS", detail: `${attempts} nodes failed; the last said: ${ending.reason}` };
    return move(task, { state: "failed", assignments, attempts, error }, ending.at);
  }
  return move(task, { state: "queued", assignments, attempts, notBefore: retry.notBefore }, ending.at);
}

/** queued → cancelled, running → cancelling; by any coordinator, its owner hears of it. */
export function cancel(task: Task, at: number): Task {
  const error = { code: "CANCELLED", detail: "cancelled by its requester" };
  if (task.state === "queued") return move(task, { state: "cancelled", error }, at);
  if (task.state === "running") return move(task, { state: "cancelling", error }, at);
  throw new ComputeError("NOT_CANCELLABLE", `the task is ${task.state}`);
}

/** queued, running or cancelling → failed: its deadline passed. A live assignment, which only its owner ends, ends as cancelled. */
export function expire(task: Task, at: number, owner: Owner): Task {
  const live = liveAssignment(task);
  if (live) requireOwn(task, live.id, owner);
  const assignments = live
    ? withAssignment(task, { ...live, state: "cancelled", endedAt: at, reason: "DEADLINE_PASSED" })
    : task.assignments;
  const error = { code: "DEADLINE_PASSED", detail: "its deadline passed before a result was accepted" };
  return move(task, { state: "failed", assignments, error }, at);
}
