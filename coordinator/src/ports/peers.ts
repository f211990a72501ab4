import type { Hex } from "@proof-of-compute/proto";

/**
 * A word between coordinators. It only makes quick what polling finds anyway, so a lost or doubled one does no harm:
 * - `queue`: tasks wait that none of the sender's nodes can take now.
 * - `task`: the stored task changed and its owner, the receiver, has not heard of it.
 */
export interface Nudge {
  readonly queue?: true;
  readonly tasks?: readonly Hex[];
}

/** The way to the other coordinators, by the address that they registered. */
export interface PeerLink {
  /** Never rejects and never waits; what is lost is lost. */
  nudge(address: string, nudge: Nudge): void;
  /** How far live assignments of these tasks are at that coordinator, 0 to 1; tasks that it does not run are left out. */
  progress(address: string, taskIds: readonly Hex[]): Promise<ReadonlyMap<Hex, number>>;
}
