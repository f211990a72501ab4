import { api, call, type Task, type TaskState } from "#lib/api/client.ts";
import { grouped } from "#lib/format.ts";

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

/** The stations of a task that goes well, in order. */
export const STEPS = ["queued", "running", "verified", "batched", "recorded"] as const;
export type Step = (typeof STEPS)[number];

/** `stopped`: the task ended here without a result. */
export type StepStatus = "done" | "now" | "ahead" | "stopped";

/** How far each station is behind, with a task or before there is one. */
export function stepStatus(step: Step, task: Task | undefined): StepStatus {
  if (!task) return "ahead";
  const ended = task.state === "failed" || task.state === "cancelled";
  const stoppedAt: Step = task.assignments.length > 0 ? "running" : "queued";
  const reached = STEPS.find((name) => name === task.state) ?? stoppedAt;
  const [at, position] = [STEPS.indexOf(reached), STEPS.indexOf(step)];
  if (position < at) return "done";
  if (position > at) return "ahead";
  if (ended) return "stopped";
  return step === "recorded" ? "done" : "now";
}

/** The attempt that counts: the accepted one, else the newest. */
export function decisiveAssignment(task: Task): Task["assignments"][number] | undefined {
  return task.assignments.find(({ state }) => state === "accepted") ?? task.assignments.at(-1);
}

/** Whether its requester can still take it back. */
export function isCancellable(task: Task): boolean {
  return task.state === "queued" || task.state === "running";
}

/** The dimensions of a matmul task, as people write them. */
export function dimensions({ n, k }: { readonly n: number; readonly k: number }): string {
  return `${k} factors of ${n} × ${n}`;
}

/** What a task computes, in a few words; the name of its kind when this page does not know the kind. */
export function summary(task: Task): string {
  return task.matmul ? dimensions(task.matmul) : task.kind;
}

/** What a task is worth, or a dash while that is not known. */
export function unitsOf({ units, maxUnits }: Task): string {
  if (units !== undefined) return grouped(units);
  return maxUnits === undefined ? "–" : `up to ${grouped(maxUnits)}`;
}

/** Asks the coordinator to cancel; gives the task as it stands then. */
export function cancelTask(id: string): Promise<Task> {
  return call(api.POST("/api/tasks/{id}/cancel", { params: { path: { id } } }));
}
