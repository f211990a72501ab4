import type { ServerDuplexStream } from "@grpc/grpc-js";
import { addressBytes, fromHex, type Hex } from "@proof-of-compute/proto";
import {
  type Assignment,
  type CoordinatorFrame,
  type NodeFrame,
  type ResultAck,
  CancelReason as WireCancelReason,
  Verdict as WireVerdict,
} from "@proof-of-compute/proto/node";
import { ComputeError } from "../../domain/errors.ts";
import type { Task } from "../../domain/task.ts";
import type { CancelReason, NodeLink, Welcome } from "../../services/fleet/node-link.ts";
import type { ResultVerdict } from "../../services/results/verdict.ts";
import { MAX_PLURAL, MAX_UNREAD } from "./limits.ts";
import { toServiceError } from "./status.ts";

const CANCEL_REASONS: Record<CancelReason, WireCancelReason> = {
  REQUESTED: WireCancelReason.CANCEL_REASON_REQUESTED,
  DEADLINE: WireCancelReason.CANCEL_REASON_DEADLINE,
  LEASE_LOST: WireCancelReason.CANCEL_REASON_LEASE_LOST,
};

const VERDICTS: Record<ResultVerdict["outcome"], WireVerdict> = {
  ACCEPTED: WireVerdict.VERDICT_ACCEPTED,
  REJECTED: WireVerdict.VERDICT_REJECTED,
  LATE: WireVerdict.VERDICT_LATE,
};

/** The way down a node's stream. Assignments and acks of one event-loop turn share a frame. */
export class StreamLink implements NodeLink {
  readonly sessionId: Hex;
  readonly #call: ServerDuplexStream<NodeFrame, CoordinatorFrame>;
  #assignments: Assignment[] = [];
  #acks: ResultAck[] = [];
  #scheduled = false;
  #unread = 0;
  #closed = false;

  constructor(call: ServerDuplexStream<NodeFrame, CoordinatorFrame>, sessionId: Hex) {
    this.#call = call;
    this.sessionId = sessionId;
  }

  send(message: NonNullable<CoordinatorFrame["message"]>): void {
    if (this.#closed) return;
    const items = itemsOf(message);
    this.#unread += items;
    if (this.#unread > MAX_UNREAD) {
      this.#closed = true;
      const error = new ComputeError("UNAVAILABLE", "the node does not read what is sent to it; dial again");
      this.#call.emit("error", toServiceError(error));
      return;
    }
    this.#call.write({ message }, () => {
      this.#unread -= items;
    });
  }

  welcome({ contract, ...welcome }: Welcome): void {
    this.send({
      $case: "welcome",
      value: {
        sessionId: fromHex(this.sessionId),
        coordinatorId: welcome.coordinatorId,
        heartbeatIntervalMs: welcome.heartbeatMs,
        leaseMs: welcome.leaseMs,
        reconnectSpreadMs: welcome.reconnectSpreadMs,
        inlineOutputBytes: welcome.inlineOutputBytes,
        chainId: BigInt(contract?.chainId ?? 0),
        contract: contract ? addressBytes(contract.address) : new Uint8Array(),
      },
    });
  }

  assign(assignmentId: Hex, task: Task): void {
    this.#assignments.push({ assignmentId: fromHex(assignmentId), taskId: fromHex(task.id), spec: task.spec });
    this.#schedule();
  }

  cancel(assignmentId: Hex, reason: CancelReason): void {
    // Sends waiting assignments first, so that the node knows what is cancelled.
    this.#flush();
    this.send({ $case: "cancel", value: { assignmentId: fromHex(assignmentId), reason: CANCEL_REASONS[reason] } });
  }

  ack({ assignmentId, outcome, reason, units }: ResultVerdict): void {
    this.#acks.push({ assignmentId: fromHex(assignmentId), verdict: VERDICTS[outcome], reason, units });
    this.#schedule();
  }

  reconnect(spreadMs: number, reason: string): void {
    this.send({ $case: "reconnect", value: { spreadMs, reason } });
  }

  close(error?: ComputeError): void {
    if (this.#closed) return;
    this.#flush();
    this.#closed = true;
    if (error) this.#call.emit("error", toServiceError(error));
    else this.#call.end();
  }

  /** The stream has ended; nothing is sent from now on. */
  lost(): void {
    this.#closed = true;
  }

  #schedule(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    setImmediate(() => this.#flush());
  }

  #flush(): void {
    this.#scheduled = false;
    const assignments = this.#assignments;
    const acks = this.#acks;
    this.#assignments = [];
    this.#acks = [];
    for (let i = 0; i < acks.length; i += MAX_PLURAL) {
      this.send({ $case: "acks", value: { acks: acks.slice(i, i + MAX_PLURAL) } });
    }
    for (let i = 0; i < assignments.length; i += MAX_PLURAL) {
      this.send({ $case: "assignments", value: { assignments: assignments.slice(i, i + MAX_PLURAL) } });
    }
  }
}

function itemsOf(message: NonNullable<CoordinatorFrame["message"]>): number {
  if (message.$case === "acks") return Math.max(1, message.value.acks.length);
  return message.$case === "assignments" ? message.value.assignments.length : 1;
}
