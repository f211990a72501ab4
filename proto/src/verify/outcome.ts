import { reasonOf } from "../reason.ts";

/** A link does not hold; the message says why. */
export class Broken extends Error {}

/** Whether a link holds could not be checked; the message says why. */
export class Unchecked extends Error {}

/** The status of a link that threw an error. */
export function outcomeOf(error: unknown): { status: "failed" | "unchecked"; detail: string } {
  return { status: error instanceof Unchecked ? "unchecked" : "failed", detail: reasonOf(error) };
}

/** Awaits a fact from a source. A source that fails breaks no link. */
export async function awaitFact<T>(fact: () => T | Promise<T>): Promise<T> {
  try {
    return await fact();
  } catch (cause) {
    throw new Unchecked(reasonOf(cause), { cause });
  }
}
