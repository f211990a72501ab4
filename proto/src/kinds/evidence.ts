import type { Claim, Finding, Kind, Report, Work } from "./kind.ts";

/** Checks one of a kind's links. Throws when the check itself failed, or for an unknown name. */
export async function checkLink(kind: Kind, name: string, claim: Claim<unknown>, report?: Report): Promise<Finding> {
  const link = kind.links.find((one) => one.name === name);
  if (!link) throw new RangeError(`tasks of kind ${kind.name} have no link ${name}`);
  return link.check(claim, report);
}

/** Recomputes an output from public data. Null when `report` ended it. Throws for kinds that only the node can compute. */
export function recompute(kind: Kind, work: Work<unknown>): Uint8Array;
export function recompute(kind: Kind, work: Work<unknown>, report: Report | undefined): Uint8Array | null;
export function recompute(kind: Kind, work: Work<unknown>, report?: Report): Uint8Array | null {
  if (!kind.recompute) throw new Error(`the result of a task of kind ${kind.name} cannot be recomputed`);
  return kind.recompute(work, report);
}
