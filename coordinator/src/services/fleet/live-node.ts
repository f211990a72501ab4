import type { Address, Hex, TaskKindName } from "@proof-of-compute/proto";
import type { ComputeError } from "../../domain/errors.ts";
import type { Hardware, Node, NodeStatus } from "../../domain/node.ts";
import type { Owner } from "../../domain/owner.ts";

import type { Assignment, Task } from "../../domain/task.ts";
import type { Upload } from "../results/uploads.ts";
import type { ResultVerdict } from "../results/verdict.ts";

/** Why a node is told to stop. */
export type CancelReason = "REQUESTED" | "DEADLINE" | "LEASE_LOST";

/** What a node is blamed for: a lease that it lost, a task that failed by its own word, a result that is wrong. */
export type NodeFault = "lost" | "failed" | "rejected";

/** The way down to a node. An edge implements it; calls of one event-loop turn travel in one frame. */
export interface NodeLink {
  /** Names the session, for logs and for FetchBlob. */
  readonly sessionId: Hex;
  assign(assignmentId: Hex, task: Task): void;
  cancel(assignmentId: Hex, reason: CancelReason): void;
  ack(verdict: ResultVerdict): void;
  reconnect(spreadMs: number, reason: string): void;
  /** Ends the stream with the error's status; without one, cleanly. */
  close(error?: ComputeError): void;
}

/** What a node offered in a Hello whose signature was checked. */
export interface Offer {
  readonly nodeId: Hex;
  readonly wallet: Address;
  readonly version: string;
  readonly kinds: readonly TaskKindName[];
  readonly slots: number;
  readonly hardware: Hardware;
  /** Of one slot, as the node says; absent: it does not say. */
  readonly unitsPerSecond?: number;
  readonly confirmed: boolean;
  readonly runningAssignmentIds: readonly Hex[];
}

/** Whether a node can compute so many units in that time, by its own word; without one it may try. */
export function isFastEnough({ unitsPerSecond }: Pick<Offer, "unitsPerSecond">, units: bigint, ms: number): boolean {
  return unitsPerSecond === undefined || Number(units) * 1_000 <= unitsPerSecond * ms;
}

/**
 * How far an assignment has come here:
 * - `reserved`: its lease is being written, and the store may refuse it; nothing may be built on it before.
 * - `sent`: pushed, no word of it yet; withdrawn when the node stays silent about it.
 * - `running`: the node answered.
 * - `checking`: its result is here and being verified; the lease holds until the verdict.
 */
export type AssignmentPhase = "reserved" | "sent" | "running" | "checking";

/** A live assignment in memory: the task as last written, and what only the live session knows. */
export interface ActiveAssignment {
  task: Task;
  readonly assignment: Assignment;
  readonly node: LiveNode;
  phase: AssignmentPhase;
  /** 0 to 1, as the node says. */
  progress: number;
  /** Monotonic: when it was pushed, or last moved. */
  movedAt: number;
  /** Heartbeats in a row that did not list it. */
  missed: number;
  /** Its end is being written, however long the store is away; it does not end twice. */
  ending: Promise<boolean> | undefined;
  /** Its output, while it arrives in chunks; they must not stop for longer than the lease time, nor drip. */
  upload: Upload | undefined;
}

/** A node that is online, or that still holds leases. */
export class LiveNode {
  readonly id: Hex;
  offer: Offer;
  link: NodeLink | null = null;
  status: NodeStatus = "suspect";
  /** Monotonic receive time of the last frame of the live session. */
  heardAt = 0;
  /** Wall clock of the same, for people. */
  lastSeen = 0;
  load = 0;
  cap = 1;
  valid = 0;
  faults = 0;
  /** Wrong results and failures since the last valid result; each doubles the pause before it gets work again. */
  failedInARow = 0;
  /** Monotonic; until then it gets no work. */
  pausedUntil = 0;
  draining = false;
  /** The live session was welcomed; before that it gets no work, which `joined` would take for a lost assignment. */
  welcomed = false;
  readonly runs = new Map<Hex, ActiveAssignment>();
  /** Assignments that its last heartbeat listed and that were not followed here. */
  unknown: ReadonlySet<Hex> = new Set();
  /** How many of `runs` are `checking`. */
  checking = 0;
  /** Position in the fleet's list of nodes with room, -1 when not in it. */
  roomIndex = -1;

  constructor(id: Hex, offer: Offer) {
    this.id = id;
    this.offer = offer;
  }

  /**
   * Assignments it may be given now: free slots, and no more in all (results that are being checked included) than its
   * cap. The cap grows to twice the slots, so that a proven node computes while its last results are checked.
   */
  get capacity(): number {
    if (this.link === null || !this.welcomed || this.status !== "online" || this.draining) return 0;
    return Math.max(0, Math.min(this.offer.slots - (this.runs.size - this.checking), this.cap - this.runs.size));
  }

  /** Memory of the outputs that it has begun to send, those whose result is here excluded. */
  get uploading(): number {
    let bytes = 0;
    for (const { phase, upload } of this.runs.values()) if (phase !== "checking") bytes += upload?.size ?? 0;
    return bytes;
  }

  /** The node as it is stored. */
  toNode(owner: Owner): Node {
    const { wallet, hardware, kinds, slots, unitsPerSecond, version, confirmed } = this.offer;
    const { id, status, lastSeen } = this;
    const rate = unitsPerSecond !== undefined && { unitsPerSecond };
    return { id, wallet, status, lastSeen, owner, hardware, kinds, slots, ...rate, version, confirmed };
  }
}
