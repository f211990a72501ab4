import type { Hex } from "@proof-of-compute/proto";

/**
 * One run of one coordinator. Two owners are the same only if both fields are: tasks of an earlier run of the same
 * coordinator have no living owner.
 */
export interface Owner {
  /** COORDINATOR_ID. */
  readonly coordinatorId: string;
  /** 16 random bytes, drawn at each start. */
  readonly incarnation: Hex;
}

/** Whether both are the same run of the same coordinator. */
export function isSameOwner(a: Owner | undefined | null, b: Owner | undefined | null): boolean {
  return a?.coordinatorId === b?.coordinatorId && a?.incarnation === b?.incarnation;
}

/** What a coordinator's peers know of it. */
export interface CoordinatorRecord extends Owner {
  /** Increases while the coordinator is alive. Only its changes matter; the value means nothing. */
  readonly beat: number;
  /** URL at which its peers reach its REST facade. */
  readonly address: string;
  readonly version: string;
  /** Milliseconds since 1970, its own clock; for people. */
  readonly startedAt: number;
}
