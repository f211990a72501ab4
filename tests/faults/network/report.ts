import type { Hex } from "@proof-of-compute/proto";
import type { Outcome } from "./run.ts";

/** Lines of history in the report of a task. */
const LAST_LINES = 50;
/** Tasks that are reported in full. */
const SHOWN = 3;

/** Describes the outcome of one run for people: its figures, or everything about its violations. */
export function reportOutcome(outcome: Outcome): string {
  const { seed, violations, folder } = outcome;
  const kept = folder ? [`logs, data and history: ${folder}`] : [];
  if (violations.length === 0) return [`  ${figures([outcome])}`, ...kept.map((line) => `  ${line}`)].join("\n");
  const lines = violations.map(({ rule, detail, taskId }) => `- ${rule}: ${taskId ? `task ${taskId}: ` : ""}${detail}`);
  const tasks = [...new Set(violations.flatMap(({ taskId }) => taskId ?? []))].slice(0, SHOWN);
  return [
    `VIOLATED with seed ${seed}, on ${outcome.store}:`,
    ...lines,
    ...tasks.flatMap((taskId) => aboutTask(outcome, taskId)),
    ...kept,
  ].join("\n");
}

/** Sums up several runs. */
export function summarize(outcomes: readonly Outcome[]): string {
  const faults = new Map<string, number>();
  for (const outcome of outcomes) {
    for (const [name, count] of outcome.faults) faults.set(name, (faults.get(name) ?? 0) + count);
  }
  const listed = [...faults].sort(([a], [b]) => (a < b ? -1 : 1)).map(([name, count]) => `${name} ${count}`);
  const violated = outcomes.filter(({ violations }) => violations.length > 0).map(({ seed }) => seed);
  return [
    `${outcomes.length} networks on ${outcomes[0]?.store ?? "nothing"}: ${figures(outcomes)}`,
    `faults: ${listed.join(", ")}`,
    violated.length > 0 ? `violations with seed ${violated.join(", ")}` : "no violation",
  ].join("\n");
}

function figures(outcomes: readonly Outcome[]): string {
  const evidence = outcomes.flatMap((outcome) => outcome.evidence ?? []);
  const tasks = evidence.flatMap((each) => each.tasks);
  const acks = evidence.flatMap(({ daemons }) => daemons.flatMap((daemon) => daemon.acks));
  const states = (state: string) => tasks.filter((task) => task.state === state).length;
  const retried = tasks.filter(({ assignments }) => Object.keys(assignments).length > 1).length;
  const faults = outcomes.flatMap((outcome) => [...outcome.faults.values()]).reduce((sum, count) => sum + count, 0);
  const repeated = outcomes.flatMap(({ history }) =>
    history.filter((entry) => entry.type === "submit" && (entry.phase === "unknown" || entry.phase === "fail")),
  ).length;
  return (
    `${tasks.length} tasks (${states("verified")} verified, ${states("cancelled")} cancelled, ${states("failed")} past ` +
    `their deadline; ${retried} assigned more than once), ${repeated} requests repeated, ` +
    `${evidence.reduce((sum, { receipts }) => sum + receipts.length, 0)} receipts in ` +
    `${evidence.reduce((sum, { batches }) => sum + batches.length, 0)} batches, ` +
    `${acks.filter(({ verdict }) => verdict === "LATE").length} late results, ${faults} faults`
  );
}

function aboutTask({ evidence, history }: Outcome, taskId: Hex): string[] {
  const task = evidence?.tasks.find(({ id }) => id === taskId);
  const ids = [taskId, ...Object.keys(task?.assignments ?? {})];
  const keys = history.flatMap((entry) =>
    entry.type === "submit" && "taskId" in entry && entry.taskId === taskId ? [entry.key] : [],
  );
  const lines = history
    .map((entry) => JSON.stringify(entry))
    .filter((line) => ids.some((id) => line.includes(id)) || keys.some((key) => line.includes(`"${key}"`)));
  return [
    `task ${taskId} as stored:`,
    JSON.stringify(task, (_key, value: unknown) => plain(value), 2),
    "its last events:",
    ...lines.slice(-LAST_LINES),
  ];
}

function plain(value: unknown): unknown {
  if (typeof value === "bigint") return String(value);
  return value instanceof Uint8Array ? Buffer.from(value).toString("hex") : value;
}
