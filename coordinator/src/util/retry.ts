import type { Clock } from "../ports/clock.ts";
import { sleep } from "./sleep.ts";

export interface RetryInit {
  /** Milliseconds between a failure and the next attempt. */
  readonly delayMs: number;
  /** Hears of every failure, with how many there have been. What it throws ends the attempts. */
  readonly onError?: (error: unknown, failures: number) => void;
}

/**
 * Repeats `attempt` until it succeeds, and resolves with its result. Rejects with the signal's reason once that aborts; an
 * attempt under way still ends, and its success counts.
 */
export async function retry<T>(
  clock: Pick<Clock, "after">,
  signal: AbortSignal,
  attempt: () => Promise<T>,
  { delayMs, onError }: RetryInit,
): Promise<T> {
  for (let failures = 1; ; failures++) {
    signal.throwIfAborted();
    try {
      return await attempt();
    } catch (error) {
      onError?.(error, failures);
    }
    await sleep(clock, delayMs, signal);
  }
}
