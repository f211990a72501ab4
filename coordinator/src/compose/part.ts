import { setTimeout as sleep } from "node:timers/promises";
import type { Logger } from "pino";
import { systemClock } from "../adapters/system-clock.ts";
import { type CoordinatorKinds, KINDS } from "../kinds/index.ts";
import type { Clock } from "../ports/clock.ts";
import { Metrics } from "../services/metrics.ts";
import { TaskEvents } from "../services/watch/task-events.ts";

/** What every part of a coordinator uses. */
export interface Base {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: Metrics;
  readonly events: TaskEvents;
  /** The kinds of work that this coordinator knows. */
  readonly kinds: CoordinatorKinds;
  /** Uniform in [0, 1). */
  readonly random: () => number;
  /** How long a component may take to close, in milliseconds. */
  readonly closeMs: number;
}

/** The base of a coordinator in this process; whatever `change` names is replaced. */
export function createBase(change: Pick<Base, "logger" | "closeMs"> & Partial<Base>): Base {
  return {
    clock: systemClock,
    metrics: new Metrics(),
    events: new TaskEvents(),
    kinds: KINDS,
    random: Math.random,
    ...change,
  };
}

/**
 * Makes closing a component its disposal. Disposal never rejects and never hangs: one component must not keep the others
 * open, nor the process alive.
 */
export function closing(
  { logger, closeMs }: Pick<Base, "logger" | "closeMs">,
  component: string,
  close: () => Promise<void> | void,
): AsyncDisposable {
  return {
    async [Symbol.asyncDispose]() {
      const limit = new AbortController();
      const late = sleep(closeMs, "late" as const, { signal: limit.signal });
      try {
        const end = await Promise.race([Promise.try(close), late]);
        if (end === "late") logger.error({ component, closeMs }, "component did not close in time");
      } catch (error) {
        logger.error({ component, err: error }, "component failed to close");
      } finally {
        limit.abort();
        late.catch(() => {});
      }
    },
  };
}
