import type { Hex } from "@proof-of-compute/proto";
import type { Evidence } from "./evidence.ts";
import type { Entry } from "./history.ts";
import { LEDGER_RULES } from "./ledger-rules.ts";
import { TASK_RULES } from "./task-rules.ts";

/** Something that must never be. */
export interface Violation {
  readonly rule: string;
  readonly detail: string;
  /** The task that it is about, if it is about one. */
  readonly taskId?: Hex;
}

/** Finds what contradicts a promise; calls `report` for each. */
export type Rule = (
  history: readonly Entry[],
  evidence: Evidence,
  report: (detail: string, taskId?: Hex) => void,
) => void;

/** Each promise and what checks it. */
export const RULES: Readonly<Record<string, Rule>> = { ...TASK_RULES, ...LEDGER_RULES };

/** Judges a run that has come to rest. */
export function check(history: readonly Entry[], evidence: Evidence): Violation[] {
  const violations: Violation[] = [];
  for (const [rule, judge] of Object.entries(RULES)) {
    judge(history, evidence, (detail, taskId) => violations.push({ rule, detail, ...(taskId && { taskId }) }));
  }
  return violations;
}
