import type { Owner } from "../domain/owner.ts";

/** An owner as one value that can be compared: "incarnation name", since a name may hold anything. */
export function ownerKey({ coordinatorId, incarnation }: Owner): string {
  return `${incarnation} ${coordinatorId}`;
}
