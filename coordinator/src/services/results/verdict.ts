import type { Hex } from "@proof-of-compute/proto";
import type { Task } from "../../domain/task.ts";

/** What became of a result; the words of the proto's Verdict. */
export interface ResultVerdict {
  readonly assignmentId: Hex;
  readonly outcome: "ACCEPTED" | "REJECTED" | "LATE";
  /** Stable code or, of a late result, the node's own words; empty when accepted. */
  readonly reason: string;
  readonly units: bigint;
}

/** Reason of a LATE verdict on a result of an assignment that this node never had. */
const UNKNOWN_ASSIGNMENT = "UNKNOWN_ASSIGNMENT";

/** The verdict that the stored task holds for an assignment of a node; undefined while the assignment is live. */
export function storedVerdict(task: Task | null, assignmentId: Hex, nodeId: Hex): ResultVerdict | undefined {
  const assignment = task?.assignments[assignmentId];
  const late = { assignmentId, outcome: "LATE", units: 0n } as const;
  if (assignment?.nodeId !== nodeId) return { ...late, reason: UNKNOWN_ASSIGNMENT };
  if (assignment.state === "live") return undefined;
  if (assignment.receipt) return { assignmentId, outcome: "ACCEPTED", reason: "", units: assignment.receipt.units };
  if (assignment.state === "rejected") {
    return { ...late, outcome: "REJECTED", reason: assignment.reason ?? "REJECTED" };
  }
  return { ...late, reason: assignment.reason ?? "ENDED_BEFORE" };
}

/** The verdict as labels of a metric. A node's own words become one label, because labels are kept for ever. */
export function verdictLabels({ outcome, reason }: ResultVerdict): {
  readonly verdict: string;
  readonly reason: string;
} {
  const isOwnWords = outcome === "LATE" && reason !== UNKNOWN_ASSIGNMENT;
  return { verdict: outcome, reason: isOwnWords ? "ENDED_BEFORE" : reason };
}
