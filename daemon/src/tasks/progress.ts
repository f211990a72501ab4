import type { RunningAssignment } from "./running-assignment.ts";

/** How often running assignments are checked for progress. */
const SWEEP_MS = 250;
/** Shortest time between two Progress messages of an assignment (node.proto). */
const PROGRESS_MS = 1_000;

interface Report {
  /** Monotonic. */
  readonly at: number;
  readonly fraction: number;
}

/** Reports the progress of running assignments to the coordinator. The first report of an assignment accepts it. */
export class ProgressReports {
  readonly #running: ReadonlyMap<unknown, RunningAssignment>;
  readonly #send: (running: RunningAssignment, fraction: number) => boolean;
  readonly #onSweep: () => void;
  /** What the coordinator of this session has heard. */
  #reported = new WeakMap<RunningAssignment, Report>();
  #sweeps: NodeJS.Timeout | undefined;

  /** `send` returns false when there is no coordinator to send to. */
  constructor(init: {
    readonly running: ReadonlyMap<unknown, RunningAssignment>;
    readonly send: (running: RunningAssignment, fraction: number) => boolean;
    readonly onSweep: () => void;
  }) {
    this.#running = init.running;
    this.#send = init.send;
    this.#onSweep = init.onSweep;
  }

  /** Reports on an assignment from its start. */
  follow(running: RunningAssignment): void {
    // A tiny task's result usually arrives soon enough to accept it; otherwise the sweep does.
    if (!running.plan.tiny) this.#report(running, 0);
    this.#sweeps ??= setInterval(() => this.#sweep(), SWEEP_MS);
  }

  /** Starts over, for the coordinator of a new session. */
  reset(): void {
    this.#reported = new WeakMap();
  }

  /** Ends its timer. Safe to repeat. */
  stop(): void {
    clearInterval(this.#sweeps);
    this.#sweeps = undefined;
  }

  #sweep(): void {
    if (this.#running.size === 0) {
      this.stop();
      return;
    }
    const now = performance.now();
    for (const running of this.#running.values()) {
      if (running.stopped) continue;
      const last = this.#reported.get(running);
      const { fraction } = running;
      if (!last || (now - last.at >= PROGRESS_MS && fraction > last.fraction)) this.#report(running, fraction);
    }
    this.#onSweep();
  }

  #report(running: RunningAssignment, fraction: number): void {
    if (this.#send(running, fraction)) this.#reported.set(running, { at: performance.now(), fraction });
  }
}
