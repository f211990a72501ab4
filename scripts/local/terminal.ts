import { relative } from "node:path";

/** Tells the person at the terminal: what, and the evidence for it. */
export type Say = (label: string, ...lines: string[]) => void;

/** Something that the person at the terminal has to know or do; shown without a stack. */
export class LocalError extends Error {
  override readonly name = "LocalError";
}

/** A path as one types it here. */
export function shortPath(path: string): string {
  const short = relative(process.cwd(), path);
  return short.startsWith("..") ? path : short;
}
