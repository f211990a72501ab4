import type { Hex } from "@proof-of-compute/proto";
import type { ComputeError } from "../../domain/errors.ts";
import type { Task } from "../../domain/task.ts";
import type { ResultVerdict } from "../results/verdict.ts";

/** Why a node is told to stop an assignment. */
export type CancelReason = "REQUESTED" | "DEADLINE" | "LEASE_LOST";

/** The way down to a node. An edge implements it; calls of one event-loop turn travel in one frame. */
export interface NodeLink {
  /** Names the session, in logs and in FetchBlob. */
  readonly sessionId: Hex;
  assign(assignmentId: Hex, task: Task): void;
  cancel(assignmentId: Hex, reason: CancelReason): void;
  ack(verdict: ResultVerdict): void;
  reconnect(spreadMs: number, reason: string): void;
  /** Ends the stream with the error's status; without an error, cleanly. */
  close(error?: ComputeError): void;
}
