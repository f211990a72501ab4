import type { Address, Hex } from "@proof-of-compute/proto";
import type { ComputeError } from "../../domain/errors.ts";
import type { Task } from "../../domain/task.ts";
import type { ResultVerdict } from "../results/verdict.ts";

/** Why a node is told to stop an assignment. */
export type CancelReason = "REQUESTED" | "DEADLINE" | "LEASE_LOST";

/** What a node is told when its session opens. */
export interface Welcome {
  readonly coordinatorId: string;
  readonly heartbeatMs: number;
  readonly leaseMs: number;
  readonly reconnectSpreadMs: number;
  /** A larger output travels in chunks. */
  readonly inlineOutputBytes: number;
  /** Where units are recorded; undefined: nowhere yet. */
  readonly contract: { readonly chainId: number; readonly address: Address } | undefined;
}

/** The way down to a node. An edge implements it; calls of one event-loop turn travel in one frame. */
export interface NodeLink {
  /** Names the session, in logs and in FetchBlob. */
  readonly sessionId: Hex;
  welcome(welcome: Welcome): void;
  assign(assignmentId: Hex, task: Task): void;
  cancel(assignmentId: Hex, reason: CancelReason): void;
  ack(verdict: ResultVerdict): void;
  reconnect(spreadMs: number, reason: string): void;
  /** Ends the stream with the error's status; without an error, cleanly. */
  close(error?: ComputeError): void;
}
