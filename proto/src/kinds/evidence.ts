import type { Claim, Finding, Kind, Report, Work } from "./kind.ts";

/** Checks the link of that name of a kind. Throws where the link could not be checked, for example for an unknown name. */
export async function checkLink(kind: Kind, name: string, claim: Claim<unknown>, report?: Report): Promise<Finding> {
  const link = kind.links.find((one) => one.name === name);
  if (!link) throw new RangeError(`tasks of kind ${kind.name} have no link ${name}`);
  return link.check(claim, report);
}

/** Computes an output again from public facts. Null when `report` ended it. Throws where only the node can compute it. */
export function recompute(kind: Kind, work: Work<unknown>): Uint8Array;
export function recompute(kind: Kind, work: Work<unknown>, report: Report | undefined): Uint8Array | null;
export function recompute(kind: Kind, work: Work<unknown>, report?: Report): Uint8Array | null {
  if (!kind.recompute) throw new Error(`nobody can compute the result of a task of kind ${kind.name} again`);
  return kind.recompute(work, report);
}
