import type { Address, Hex, TaskKindName } from "@proof-of-compute/proto";
import { ComputeError } from "./errors.ts";
import { isSameOwner, type Owner } from "./owner.ts";
import type { Receipt } from "./receipt.ts";

/**
 * - `queued`: the task waits for a node, or for `notBefore`.
 * - `running`: one assignment is live.
 * - `cancelling`: its requester cancelled it; the node has not confirmed yet that it stopped.
 * - `verified`: its result was checked, and there is a receipt. Final.
 * - `failed`: too many attempts failed, or its deadline passed. Final; the task keeps its whole history.
 * - `cancelled`: Final.
 */
export type TaskState = "queued" | "running" | "cancelling" | "verified" | "failed" | "cancelled";

/** The transitions of a task. This table and the task's version guard every write. */
const TRANSITIONS: Record<TaskState, readonly TaskState[]> = {
  queued: ["running", "cancelled", "failed"],
  running: ["queued", "cancelling", "verified", "failed"],
  cancelling: ["cancelled", "verified", "failed"],
  verified: [],
  failed: [],
  cancelled: [],
};

/**
 * The state of one attempt: `live`, `accepted` (there is a receipt), `rejected` (its result failed the check), `failed`
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
  /** A stable code, or the node's words; for people. */
  readonly reason?: string;
  /** Present exactly when `accepted`. */
  readonly receipt?: Receipt;
}

/** One requested computation. On both stores, one document has everything that is true of it. */
export interface Task {
  readonly id: Hex;
  /** Grows by one with each write. A write names the version that it read, so a stale writer changes nothing. */
  readonly version: number;
  readonly requester: Address;
  readonly kind: TaskKindName;
  /** Serialized TaskSpec of the proto. */
  readonly spec: Uint8Array;
  readonly state: TaskState;
  readonly createdAt: number;
  readonly deadline: number;
  /** The earliest time of the next attempt; at first createdAt. */
  readonly notBefore: number;
  /** Different nodes that reported a task error so far. */
  readonly attempts: number;
  readonly assignments: Readonly<Record<Hex, Assignment>>;
  /** The coordinator that follows the live assignment, and alone may end it; present while there is a live assignment. */
  readonly owner?: Owner;
  /** When the task became final; absent before. */
  readonly endedAt?: number;
  /** Why the task failed or was cancelled. */
  readonly error?: { readonly code: string; readonly detail: string };
  /** SHA-256 of the request's body when it came with an Idempotency-Key. */
  readonly requestDigest?: Hex;
}

/** The assignment that may still bring a result, or undefined. */
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

/** Whether no transition leads out of the task's state. */
export function isFinal(task: Task): boolean {
  return TRANSITIONS[task.state].length === 0;
}

type Change = Partial<Omit<Task, "id" | "version" | "owner" | "endedAt">> & { readonly state: TaskState };

/** Applies a transition; `at` is used only if the new state is final. */
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

/** The assignment, if it is live and `owner`'s. Throws CONFLICT for an owner that has lost it. */
function requireOwn(task: Task, assignmentId: Hex, owner: Owner): Assignment {
  const assignment = requireLive(task, assignmentId);
  if (!isSameOwner(task.owner, owner)) throw new ComputeError("CONFLICT", "another coordinator took the task over");
  return assignment;
}

/** queued → running: gives the task to a node; `owner` follows the assignment. */
export function assign(
  task: Task,
  assignment: Pick<Assignment, "id" | "nodeId" | "wallet" | "assignedAt">,
  owner: Owner,
): Task {
  if (task.state !== "queued") throw new ComputeError("CONFLICT", `a ${task.state} task cannot be assigned`);
  const assignments = withAssignment(task, { ...assignment, state: "live" });
  return { ...move(task, { state: "running", assignments }, assignment.assignedAt), owner };
}

/** Makes another coordinator the owner of a live assignment: the previous one is dead, or its node has left it. */
export function takeOver(task: Task, owner: Owner): Task {
  if (!liveAssignment(task)) throw new ComputeError("CONFLICT", `a ${task.state} task has no assignment to take over`);
  return { ...task, version: task.version + 1, owner };
}

/**
 * running or cancelling → verified: accepts the checked result of the live assignment, whatever coordinator owns it. The
 * assignment id is the fence, and no valid result may be lost because its coordinator was taken for dead. A cancellation
 * that came too late leaves no trace.
 */
export function accept(task: Task, receipt: Receipt): Task {
  const assignment = requireLive(task, receipt.receiptId);
  const ended: Assignment = { ...assignment, state: "accepted", endedAt: receipt.acceptedAt, receipt };
  const { error: _, ...uncancelled } = task;
  return move(uncancelled, { state: "verified", assignments: withAssignment(task, ended) }, receipt.acceptedAt);
}

/** The end of an attempt without a receipt. */
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

/** queued → cancelled, running → cancelling. Any coordinator may do this; the owner is told. */
export function cancel(task: Task, at: number): Task {
  const error = { code: "CANCELLED", detail: "cancelled by its requester" };
  if (task.state === "queued") return move(task, { state: "cancelled", error }, at);
  if (task.state === "running") return move(task, { state: "cancelling", error }, at);
  throw new ComputeError("NOT_CANCELLABLE", `the task is ${task.state}`);
}

/**
 * queued, running or cancelling → failed: its deadline passed. A live assignment ends as cancelled; only its owner may
 * end it.
 */
export function expire(task: Task, at: number, owner: Owner): Task {
  const live = liveAssignment(task);
  if (live) requireOwn(task, live.id, owner);
  const assignments = live
    ? withAssignment(task, { ...live, state: "cancelled", endedAt: at, reason: "DEADLINE_PASSED" })
    : task.assignments;
  const error = { code: "DEADLINE_PASSED", detail: "its deadline passed before a result was accepted" };
  return move(task, { state: "failed", assignments, error }, at);
}
