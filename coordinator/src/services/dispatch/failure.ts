import type { Ending } from "../../domain/task.ts";
import type { CoordinatorKind } from "../../kinds/index.ts";
import type { NodeFault } from "../fleet/live-node.ts";

/** Why a node ends an assignment without a result; the words of the proto's FailureCode. */
export type FailureCode = "BUSY" | "UNSUPPORTED" | "TASK" | "INTERNAL" | "CANCELLED";

/** How an assignment ends, and what its node is blamed for. */
export interface FailureOutcome {
  readonly state: Ending["state"];
  readonly fault?: NodeFault;
}

const OUTCOMES: Readonly<Record<FailureCode, FailureOutcome>> = {
  BUSY: { state: "declined" },
  UNSUPPORTED: { state: "declined" },
  CANCELLED: { state: "cancelled" },
  TASK: { state: "failed" },
  INTERNAL: { state: "lost", fault: "failed" },
};

/** What a failure means for a task of a kind. Where tasks of the kind cannot fail, the fault is the node's. */
export function outcomeOf(code: FailureCode, { protocol }: CoordinatorKind): FailureOutcome {
  return OUTCOMES[code === "TASK" && !protocol.canFail ? "INTERNAL" : code];
}
