import { TASK_KINDS, type TaskKindName } from "@proof-of-compute/proto";
import type { HelloTerms, KindOffer as WireOffer } from "@proof-of-compute/proto/node";
import { ComputeError } from "../../domain/errors.ts";
import type { KindOffer } from "../../domain/node.ts";

/** What a Hello says of all kinds, and what its offers and those of later heartbeats are read against. */
export type OfferTerms = Pick<HelloTerms, "kinds" | "slots" | "unitsPerSecond">;

/**
 * What a node offers of each of the `known` kinds, in their order. A kind without an entry has all slots and the rate of the
 * terms. Throws PROTOCOL_VIOLATION for entries that contradict the terms or one another.
 */
export function readOffers(
  terms: OfferTerms,
  entries: readonly WireOffer[],
  known: readonly TaskKindName[],
): readonly KindOffer[] {
  const kinds = new Set<number>(terms.kinds);
  const byKind = new Map<number, WireOffer>();
  for (const entry of entries) {
    if (!kinds.has(entry.kind)) throw violation("an offer is of a kind in `kinds`");
    if (byKind.has(entry.kind)) throw violation("a kind has one offer");
    if (entry.slots > terms.slots) throw violation("the slots of a kind are at most those of the node");
    byKind.set(entry.kind, entry);
  }
  return known.flatMap((kind) => {
    const number = TASK_KINDS[kind];
    if (!kinds.has(number)) return [];
    const { slots, unitsPerSecond: rate } = byKind.get(number) ?? terms;
    return { kind, slots, ...(rate && { unitsPerSecond: Math.min(Number(rate), Number.MAX_SAFE_INTEGER) }) };
  });
}

function violation(detail: string): ComputeError {
  return new ComputeError("PROTOCOL_VIOLATION", detail);
}
