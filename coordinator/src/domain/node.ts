import type { Address, Hex, TaskKindName } from "@proof-of-compute/proto";
import type { Owner } from "./owner.ts";

/**
 * - `online`: heartbeats arrive.
 * - `suspect`: 2.5 heartbeats missed, or the stream was lost; gets no new work, keeps its leases.
 * - `offline`: the lease time is over as well; its assignments were given to others.
 */
export type NodeStatus = "online" | "suspect" | "offline";

/** What a machine is, as its node says. */
export interface Hardware {
  readonly cpuModel: string;
  readonly cpuCores: number;
  readonly memoryBytes: number;
  readonly platform: string;
}

/** What a node offers of one kind of task, by its own word. */
export interface KindOffer {
  readonly kind: TaskKindName;
  /** Assignments of this kind that it runs at once; 0: none at present. */
  readonly slots: number;
  /** Compute units of this kind that one slot computes in a second; absent: the node does not say. */
  readonly unitsPerSecond?: number;
}

/** A node as last known. Written when its state changes; `lastSeen` is written every few seconds at most. */
export interface Node {
  /** ed25519 public key. */
  readonly id: Hex;
  readonly wallet: Address;
  readonly status: NodeStatus;
  /** Milliseconds since 1970, coordinator's clock. */
  readonly lastSeen: number;
  /** The coordinator that holds its session, or held it last. */
  readonly owner: Owner;
  readonly hardware: Hardware;
  /** Assignments of all kinds together that it runs at once. */
  readonly slots: number;
  /** By kind, each once. */
  readonly offers: readonly KindOffer[];
  readonly version: string;
  /** A valid NodeAuthorization of the wallet was shown. */
  readonly confirmed: boolean;
}

/** What a (node, wallet) pair has earned by its results; decides how much it may hold at once. */
export interface Standing {
  readonly nodeId: Hex;
  readonly wallet: Address;
  /** Assignments it may hold at once: 1 at first, doubled on a valid result up to its slots, 1 again on a fault. */
  readonly cap: number;
  readonly valid: number;
  readonly faults: number;
}
