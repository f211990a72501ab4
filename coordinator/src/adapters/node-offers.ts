import type { TaskKindName } from "@proof-of-compute/proto";
import type { KindOffer } from "../domain/node.ts";

/** The offers of a node that was stored before nodes had offers: all its slots for each kind, and one rate. */
export function offersBefore(
  kinds: readonly TaskKindName[],
  { slots, units_per_second }: { readonly slots: number; readonly units_per_second?: number | null },
): KindOffer[] {
  const rate = typeof units_per_second === "number" && { unitsPerSecond: units_per_second };
  return kinds.map((kind) => ({ kind, slots, ...rate }));
}
