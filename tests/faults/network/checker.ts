import type { Hex } from "@proof-of-compute/proto";
import type { Evidence } from "./evidence.ts";
import type { Entry } from "./history.ts";
import { LEDGER_RULES } from "./ledger-rules.ts";
import { TASK_RULES } from "./task-rules.ts";

/** A broken promise. */
export interface Violation {
  readonly rule: string;
  readonly detail: string;
  /** The task that it concerns, if it concerns one. */
  readonly taskId?: Hex;
}

/** Checks one promise, and calls `report` for each contradiction. */
export type Rule = (
  history: readonly Entry[],
  evidence: Evidence,
  report: (detail: string, taskId?: Hex) => void,
) => void;

/** The check of each promise. */
export const RULES: Readonly<Record<string, Rule>> = { ...TASK_RULES, ...LEDGER_RULES };

/** Judges a run once its network is at rest. */
export function check(history: readonly Entry[], evidence: Evidence): Violation[] {
  const violations: Violation[] = [];
  for (const [rule, judge] of Object.entries(RULES)) {
    judge(history, evidence, (detail, taskId) => violations.push({ rule, detail, ...(taskId && { taskId }) }));
  }
  return violations;
}
