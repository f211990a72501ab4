import { sha256, toHex } from "@proof-of-compute/proto";
import type { Receipt } from "../../../domain/receipt.ts";
import { type Assignment, acceptedReceipt, type Task } from "../../../domain/task.ts";
import { type CoordinatorKind, type CoordinatorKinds, type KnownSpec, specOf } from "../../../kinds/index.ts";
import type { RestNetwork } from "../components.ts";
import { type BatchProgress, progressView } from "../ledger/views.ts";
import { present } from "../present.ts";
import type { TaskView } from "./schemas.ts";

function viewState(task: Task, batch: BatchProgress | undefined): TaskView["state"] {
  if (task.state !== "verified" || !batch) return task.state;
  return batch.state === "recorded" ? "recorded" : "batched";
}

function assignmentView(assignment: Assignment): TaskView["assignments"][number] {
  const { id, nodeId, wallet, state, assignedAt, endedAt, reason } = assignment;
  return { id, nodeId, wallet, state, assignedAt, ...present({ endedAt, reason }) };
}

/** What a task is worth: known from its receipt, or from a spec whose every right result is worth the same. */
function unitsView(
  known: KnownSpec<CoordinatorKind> | undefined,
  receipt: Receipt | undefined,
): Pick<TaskView, "units" | "maxUnits"> {
  if (receipt) return { units: receipt.units.toString() };
  if (!known) return {};
  const { maxUnits, unitsAreExact } = known.kind.protocol.bounds(known.spec);
  return unitsAreExact ? { units: maxUnits.toString() } : { maxUnits: maxUnits.toString() };
}

/** What a task shows that is in no store. */
export interface LiveState {
  readonly waitingReason: string | undefined;
  /** 0 to 1 of the running assignment. */
  readonly progress: number | undefined;
}

/** What a task is shown with. */
export interface TaskViewContext {
  readonly kinds: CoordinatorKinds;
  readonly network: RestNetwork;
}

/** A task as people see it. `batch` is the one that carries its receipt, when one does. */
export function taskView(
  task: Task,
  batch: BatchProgress | undefined,
  live: LiveState,
  { kinds, network }: TaskViewContext,
): TaskView {
  const known = specOf(task, kinds);
  const receipt = acceptedReceipt(task);
  return {
    id: task.id,
    kind: task.kind,
    ...(known && { [task.kind]: known.kind.toView(known.spec, receipt) }),
    state: viewState(task, batch),
    ...present({
      waitingReason: task.state === "queued" ? live.waitingReason : undefined,
      progress: task.state === "running" ? live.progress : undefined,
    }),
    requester: task.requester,
    ...unitsView(known, receipt),
    createdAt: task.createdAt,
    deadline: task.deadline,
    attempts: task.attempts,
    assignments: Object.values(task.assignments)
      .sort((a, b) => a.assignedAt - b.assignedAt || (a.id < b.id ? -1 : 1))
      .map(assignmentView),
    specDigest: toHex(sha256(task.spec)),
    ...(receipt && {
      resultDigest: receipt.resultDigest,
      receiptId: receipt.receiptId,
      verifiedAt: receipt.acceptedAt,
    }),
    ...(batch && { batch: progressView(batch, network) }),
    ...(task.error && { error: task.error }),
  };
}

/** Whether nothing can change any more in what a task shows: recorded is final, verified is not. */
export function isSettled(view: Pick<TaskView, "state">): boolean {
  return view.state === "recorded" || view.state === "failed" || view.state === "cancelled";
}
