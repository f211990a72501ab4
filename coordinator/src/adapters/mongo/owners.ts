import type { Hex } from "@proof-of-compute/proto";
import type { Owner } from "../../domain/owner.ts";

/** An owner, as stored in documents. */
export interface OwnerDocument {
  readonly coordinator_id: string;
  readonly incarnation: Hex;
}

export function toOwner({ coordinator_id, incarnation }: OwnerDocument): Owner {
  return { coordinatorId: coordinator_id, incarnation };
}

export function fromOwner({ coordinatorId, incarnation }: Owner): OwnerDocument {
  return { coordinator_id: coordinatorId, incarnation };
}
