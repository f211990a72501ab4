import { reasonOf } from "../reason.ts";

/** A link does not hold; the message says why. */
export class Broken extends Error {}

/** Nobody can say here whether a link holds; the message says why. */
export class Open extends Error {}

/** The status of a link that threw an error. */
export function outcomeOf(error: unknown): { status: "failed" | "unchecked"; detail: string } {
  return { status: error instanceof Open ? "unchecked" : "failed", detail: reasonOf(error) };
}

/** Awaits a fact. A fact that cannot be had breaks no link. */
export async function asked<T>(fact: () => T | Promise<T>): Promise<T> {
  try {
    return await fact();
  } catch (cause) {
    throw new Open(reasonOf(cause), { cause });
  }
}
