import type { TaskKindName } from "@proof-of-compute/proto";
import type { KindOffer } from "../domain/node.ts";

/** What a node offers by kind that was stored before nodes said so: all its slots, and one rate for all kinds. */
export function offersBefore(
  kinds: readonly TaskKindName[],
  { slots, units_per_second }: { readonly slots: number; readonly units_per_second?: number | null },
): KindOffer[] {
  const rate = typeof units_per_second === "number" && { unitsPerSecond: units_per_second };
  return kinds.map((kind) => ({ kind, slots, ...rate }));
}
