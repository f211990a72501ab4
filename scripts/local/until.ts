import { setTimeout as sleep } from "node:timers/promises";
import { LocalError } from "./terminal.ts";

/** How long a program may take to start, in milliseconds. */
export const START_MS = 60_000;
const POLL_MS = 100;

/** Calls `ask` until it returns a value. Rejects with `problem` after {@link START_MS}. */
export async function until<T>(ask: () => Promise<T | undefined>, problem: string, signal: AbortSignal): Promise<T> {
  const limit = AbortSignal.timeout(START_MS);
  for (let last: unknown; ; ) {
    try {
      const answer = await ask();
      if (answer !== undefined) return answer;
    } catch (error) {
      last = error;
    }
    signal.throwIfAborted();
    if (limit.aborted) throw new LocalError(`${problem} within ${START_MS / 1000} s`, { cause: last });
    await sleep(POLL_MS, undefined, { signal });
  }
}
