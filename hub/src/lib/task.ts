import { api, call, type Task, type TaskState } from "#lib/api/client.ts";
import { grouped } from "./format.ts";

/** How a state is shown. */
export interface StateLook {
  readonly label: string;
  readonly tone: "waiting" | "working" | "good" | "bad" | "idle";
}

export const STATES: Readonly<Record<TaskState, StateLook>> = {
  queued: { label: "Queued", tone: "waiting" },
  running: { label: "Running", tone: "working" },
  cancelling: { label: "Cancelling", tone: "waiting" },
  verified: { label: "Verified", tone: "working" },
  batched: { label: "Batched", tone: "working" },
  recorded: { label: "Recorded", tone: "good" },
  failed: { label: "Failed", tone: "bad" },
  cancelled: { label: "Cancelled", tone: "idle" },
};

/** How an attempt of one node is shown. */
export const ATTEMPTS: Readonly<Record<Task["assignments"][number]["state"], string>> = {
  live: "In progress",
  accepted: "Accepted",
  rejected: "Rejected",
  failed: "Failed",
  declined: "Declined",
  lost: "Lost",
  cancelled: "Cancelled",
};

/** The steps of a task that goes well, in order. */
export const STEPS = ["queued", "running", "verified", "batched", "recorded"] as const;
export type Step = (typeof STEPS)[number];

/** `failed` and `cancelled`: the task ended in this step, without a result. */
export type StepStatus = "done" | "now" | "ahead" | "failed" | "cancelled";

/** How a step stands, for a task or before there is one. */
export function stepStatus(step: Step, task: Task | undefined): StepStatus {
  if (!task) return "ahead";
  const endedIn: Step = task.assignments.length > 0 ? "running" : "queued";
  const reached = STEPS.find((name) => name === task.state) ?? endedIn;
  const [at, position] = [STEPS.indexOf(reached), STEPS.indexOf(step)];
  if (position < at) return "done";
  if (position > at) return "ahead";
  if (task.state === "failed" || task.state === "cancelled") return task.state;
  return step === "recorded" ? "done" : "now";
}

/** The attempt that counts: the accepted one, else the newest. */
export function decisiveAssignment(task: Task): Task["assignments"][number] | undefined {
  return task.assignments.find(({ state }) => state === "accepted") ?? task.assignments.at(-1);
}

/** Whether its requester can still cancel it. */
export function isCancellable(task: Task): boolean {
  return task.state === "queued" || task.state === "running";
}

/** The units of a task: exact or at most, as far as the coordinator knows; undefined for an unknown kind. */
export function unitsOf({ units, maxUnits }: Task): string | undefined {
  if (units !== undefined) return grouped(units);
  return maxUnits === undefined ? undefined : `up to ${grouped(maxUnits)}`;
}

/** Cancels a task. Returns its state after that. */
export function cancelTask(id: string): Promise<Task> {
  return call(api.POST("/api/tasks/{id}/cancel", { params: { path: { id } } }));
}
