import type { Address, Hex, TaskKindName } from "@proof-of-compute/proto";
import type { Hardware } from "../../domain/node.ts";

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

/** Whether a node can compute `units` within `ms`, by its own word; a node that says nothing may try. */
export function isFastEnough({ unitsPerSecond }: Pick<Offer, "unitsPerSecond">, units: bigint, ms: number): boolean {
  return unitsPerSecond === undefined || Number(units) * 1_000 <= unitsPerSecond * ms;
}
