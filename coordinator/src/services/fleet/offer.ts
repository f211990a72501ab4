import type { Address, Hex, TaskKindName } from "@proof-of-compute/proto";
import type { Hardware, KindOffer } from "../../domain/node.ts";

/** What a node offered in a Hello whose signature was checked. */
export interface Offer {
  readonly nodeId: Hex;
  readonly wallet: Address;
  readonly version: string;
  /** Assignments of all kinds together that it runs at once. */
  readonly slots: number;
  /** By kind, each once; kinds that this coordinator does not know are left out. */
  readonly offers: readonly KindOffer[];
  readonly hardware: Hardware;
  readonly confirmed: boolean;
  readonly runningAssignmentIds: readonly Hex[];
}

/** What is offered of a kind; undefined when it is none at present. */
export function offerOf({ offers }: Pick<Offer, "offers">, kind: TaskKindName): KindOffer | undefined {
  return offers.find((offer) => offer.kind === kind && offer.slots > 0);
}

/** Whether one slot can compute `units` within `ms`, by the node's own word; a node that says nothing may try. */
export function isFastEnough(
  { unitsPerSecond }: Pick<KindOffer, "unitsPerSecond">,
  units: bigint,
  ms: number,
): boolean {
  return unitsPerSecond === undefined || Number(units) * 1_000 <= unitsPerSecond * ms;
}
