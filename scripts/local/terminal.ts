import { relative } from "node:path";

/** Prints a step and its evidence at the terminal. */
export type Say = (label: string, ...lines: string[]) => void;

/** A problem for the person at the terminal; shown without a stack. */
export class LocalError extends Error {
  override readonly name = "LocalError";
}

/** A path relative to the working directory, if it is inside. */
export function shortPath(path: string): string {
  const short = relative(process.cwd(), path);
  return short.startsWith("..") ? path : short;
}
