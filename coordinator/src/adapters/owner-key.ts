import type { Owner } from "../domain/owner.ts";

/** An owner as one comparable value, "incarnation name". The name is last, because it may contain anything. */
export function ownerKey({ coordinatorId, incarnation }: Owner): string {
  return `${incarnation} ${coordinatorId}`;
}
