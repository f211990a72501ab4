import type { Hex } from "@proof-of-compute/proto";

/**
 * A hint between coordinators. Polling finds the same a little later, so a lost or duplicate hint does no harm:
 * - `queue`: tasks wait that no node of the sender can take now.
 * - `tasks`: these stored tasks changed, and the receiver owns them.
 */
export interface Nudge {
  readonly queue?: true;
  readonly tasks?: readonly Hex[];
}

/** Sends requests to other coordinators at their registered addresses. */
export interface PeerLink {
  /** Sends a hint. Returns at once and never throws; a hint may be lost. */
  nudge(address: string, nudge: Nudge): void;
  /** Progress of the live assignments of these tasks at that coordinator, 0 to 1; without tasks that it does not run. */
  progress(address: string, taskIds: readonly Hex[]): Promise<ReadonlyMap<Hex, number>>;
}
