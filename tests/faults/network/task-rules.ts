import { isFinal, type Task } from "@proof-of-compute/coordinator/domain/task";
import { addressFromBytes, type Hex } from "@proof-of-compute/proto";
import { TaskSpec } from "@proof-of-compute/proto/task";
import type { Rule } from "./checker.ts";
import type { Entry, Seen } from "./history.ts";

type Of<T extends Entry["type"]> = Extract<Entry, { type: T }>;

/** How far two readings of one unshifted clock may differ. */
const CLOCK_MS = 50;

function of<T extends Entry["type"]>(history: readonly Entry[], type: T): Of<T>[] {
  return history.filter((entry): entry is Of<T> => entry.type === type);
}

/** The promises about tasks. */
export const TASK_RULES: Readonly<Record<string, Rule>> = {
  "no accepted task is lost or altered": (history, { tasks }, report) => {
    const stored = new Map(tasks.map((task) => [task.id, task]));
    for (const { phase, taskId, requester, asked, key } of of(history, "submit")) {
      if (phase !== "ok") continue;
      const task = stored.get(taskId!);
      if (!task) {
        report(`the task of key ${key} was accepted and is not stored`, taskId);
        continue;
      }
      const spec = TaskSpec.decode(task.spec);
      const { n, k } = spec.kind?.$case === "matmul" ? spec.kind.value : { n: 0, k: 0 };
      if (n !== asked.n || k !== asked.k) report(`asked for n=${asked.n} k=${asked.k}, stored n=${n} k=${k}`, taskId);
      if (task.requester !== requester || addressFromBytes(spec.requester) !== requester)
        report(`asked for by ${requester}, stored for ${task.requester}`, taskId);
      if (task.deadline - task.createdAt !== asked.deadlineSeconds * 1_000)
        report(`its deadline is ${task.deadline - task.createdAt} ms, not ${asked.deadlineSeconds} s`, taskId);
    }
  },

  "a key makes one task, and every task has a key": (history, { tasks }, report) => {
    const ids = new Map<string, Hex>();
    const asked = new Set<Hex>();
    for (const { phase, taskId, requester, key } of of(history, "submit")) {
      if (phase !== "ok") continue;
      const name = `${requester} ${key}`;
      const known = ids.get(name) ?? taskId!;
      if (known !== taskId) report(`key ${key} made ${known} and ${taskId}`, taskId);
      ids.set(name, known);
      asked.add(taskId!);
    }
    for (const { id } of tasks) if (!asked.has(id)) report("no requester was told of this task", id);
  },

  "a task has one live lease at a time": (_history, { tasks, clocksApartMs }, report) => {
    for (const task of tasks) {
      const assignments = Object.values(task.assignments);
      for (const [index, { id, state, endedAt }] of assignments.entries()) {
        const next = assignments[index + 1];
        if (state === "live") report(`assignment ${id} is live although the network is at rest`, task.id);
        else if (endedAt === undefined) report(`assignment ${id} is ${state} and has no end`, task.id);
        else if (next && next.assignedAt < endedAt - clocksApartMs - CLOCK_MS)
          report(`assignment ${next.id} began ${endedAt - next.assignedAt} ms before ${id} ended`, task.id);
      }
      const accepted = assignments.filter(({ state }) => state === "accepted");
      if (accepted.length > 1) report(`${accepted.length} assignments are accepted`, task.id);
      if (accepted.length === 1 && assignments.at(-1)!.state !== "accepted")
        report(`it was assigned again after ${accepted[0]!.id} was accepted`, task.id);
      if ((task.state === "verified") !== (accepted.length === 1))
        report(`it is ${task.state} with ${accepted.length} accepted assignments`, task.id);
    }
  },

  "every task ends as its requester asked": (history, { tasks, clocksApartMs }, report) => {
    const cancels = of(history, "cancel");
    const asked = new Set(cancels.map(({ taskId }) => taskId));
    for (const task of tasks) {
      if (!isFinal(task)) report(`it is ${task.state}`, task.id);
      if (task.state === "cancelled" && !asked.has(task.id))
        report("it is cancelled, and no requester asked for that", task.id);
      if (task.state === "failed") checkFailure(task, clocksApartMs, (detail) => report(detail, task.id));
    }
    const stored = new Map(tasks.map((task) => [task.id, task]));
    for (const { taskId, phase, state, code } of cancels) {
      const now = stored.get(taskId)?.state;
      if (phase === "ok" && state === "cancelled" && now !== "cancelled")
        report(`its requester was told that it is cancelled, but it is ${now}`, taskId);
      if (phase === "ok" && state === "cancelling" && now === "queued") report("a cancelled task waits again", taskId);
      if (code === "NOT_FOUND" || code === "FORBIDDEN") report(`its requester was told ${code}`, taskId);
    }
  },

  "honest nodes are never blamed": (_history, { tasks }, report) => {
    for (const task of tasks) {
      for (const { id, state, reason } of Object.values(task.assignments)) {
        if (state === "rejected" || state === "failed") report(`assignment ${id} is ${state}: ${reason}`, task.id);
      }
    }
  },

  "what was shown stays true": (history, { tasks }, report) => {
    const reads = Map.groupBy(of(history, "read"), ({ taskId }) => taskId);
    for (const [taskId, shown] of reads) {
      for (const [index, later] of shown.entries()) {
        // The last answer before this request. Other answers may have overtaken each other.
        const earlier = shown.slice(0, index).findLast(({ at }) => at <= later.askedAt);
        if (!earlier) continue;
        compare(earlier.seen, later.seen, (detail) => report(detail, taskId));
        if (WAY_TO_CHAIN.indexOf(later.seen.state) < WAY_TO_CHAIN.indexOf(earlier.seen.state))
          report(`it was shown ${earlier.seen.state}, then ${later.seen.state}`, taskId);
      }
      const task = tasks.find(({ id }) => id === taskId);
      const last = { state: task?.state ?? "missing", assignments: Object.values(task?.assignments ?? {}) };
      for (const { seen } of shown) compare(seen, last, (detail) => report(`${detail} at the end`, taskId));
    }
  },
};

function checkFailure(
  { error, deadline, endedAt }: Task,
  clocksApartMs: number,
  report: (detail: string) => void,
): void {
  if (error?.code !== "DEADLINE_PASSED") report(`it failed with ${error?.code}: ${error?.detail}`);
  else if (endedAt! < deadline - clocksApartMs - CLOCK_MS)
    report(`its deadline passed ${deadline - endedAt!} ms early`);
}

/** States of a verified task on the way of its receipt to the chain. */
const WAY_TO_CHAIN: readonly string[] = ["verified", "batched", "recorded"];
const FINAL: ReadonlySet<string> = new Set(["verified", "failed", "cancelled"]);

/** Reports impossible changes between an earlier and a later view of one task. */
function compare(earlier: Seen, later: Seen, report: (detail: string) => void): void {
  const [before, after] = [earlier, later].map(({ state }) => (WAY_TO_CHAIN.includes(state) ? "verified" : state));
  if (FINAL.has(before!) && after !== before) report(`it was shown ${before}, then ${after}`);
  for (const { id, state } of earlier.assignments) {
    const then = later.assignments.find((each) => each.id === id)?.state;
    if (then === undefined) report(`assignment ${id} was shown ${state}, then not at all`);
    else if (state !== "live" && then !== state) report(`assignment ${id} was shown ${state}, then ${then}`);
  }
}
