import type { Hex } from "@proof-of-compute/proto";

/**
 * One run of one coordinator. Two owners are the same exactly when both fields are: what an earlier run of the same
 * coordinator owned belongs to nobody any more.
 */
export interface Owner {
  /** COORDINATOR_ID. */
  readonly coordinatorId: string;
  /** Drawn at each start, 16 random bytes. */
  readonly incarnation: Hex;
}

/** Whether both name the same run of the same coordinator. */
export function isSameOwner(a: Owner | undefined | null, b: Owner | undefined | null): boolean {
  return a?.coordinatorId === b?.coordinatorId && a?.incarnation === b?.incarnation;
}

/** A coordinator as its peers see it. */
export interface CoordinatorRecord extends Owner {
  /** Grows while the coordinator lives; that it changes is the sign of life, its value means nothing. */
  readonly beat: number;
  /** URL at which its peers reach its REST facade. */
  readonly address: string;
  readonly version: string;
  /** Milliseconds since 1970, its own clock; for people. */
  readonly startedAt: number;
}
