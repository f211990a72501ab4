import type { Address, Hex, TaskKindName } from "@proof-of-compute/proto";
import type { Owner } from "./owner.ts";

/**
 * - `online`: heartbeats arrive.
 * - `suspect`: 2.5 heartbeats are missing, or the stream was lost; the node gets no new work and keeps its leases.
 * - `offline`: the lease time has passed as well; its assignments were given to other nodes.
 */
export type NodeStatus = "online" | "suspect" | "offline";

/** The machine, as its node describes it. */
export interface Hardware {
  readonly cpuModel: string;
  readonly cpuCores: number;
  readonly memoryBytes: number;
  readonly platform: string;
}

/** What a node offers of one kind of task, as it says. */
export interface KindOffer {
  readonly kind: TaskKindName;
  /** Assignments of this kind that it runs at once; 0: none for now. */
  readonly slots: number;
  /** Compute units of this kind that one slot computes in a second; absent: unknown. */
  readonly unitsPerSecond?: number;
}

/** The last known state of a node. Stored on every change; `lastSeen` alone is stored every few seconds at most. */
export interface Node {
  /** ed25519 public key. */
  readonly id: Hex;
  readonly wallet: Address;
  readonly status: NodeStatus;
  /** Milliseconds since 1970, coordinator's clock. */
  readonly lastSeen: number;
  /** The coordinator that holds its session, or held the last one. */
  readonly owner: Owner;
  readonly hardware: Hardware;
  /** Assignments of all kinds together that it runs at once. */
  readonly slots: number;
  /** By kind, each once. */
  readonly offers: readonly KindOffer[];
  readonly version: string;
  /** Whether the node presented a valid NodeAuthorization of the wallet. */
  readonly confirmed: boolean;
}

/** The record of a (node, wallet) pair's results; it decides how many assignments the node may hold at once. */
export interface Standing {
  readonly nodeId: Hex;
  readonly wallet: Address;
  /**
   * Assignments that it may hold at once: 1 at first, doubled by a valid result up to its slots, 1 again after a fault.
   */
  readonly cap: number;
  readonly valid: number;
  readonly faults: number;
}
