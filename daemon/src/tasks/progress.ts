import type { RunningAssignment } from "./running-assignment.ts";

/** How often running assignments are looked over. */
const SWEEP_MS = 250;
/** At most one Progress of an assignment in this time (node.proto). */
const PROGRESS_MS = 1_000;

interface Told {
  /** Monotonic. */
  readonly at: number;
  readonly fraction: number;
}

/** Tells the coordinator how far running assignments have come; the first word of each accepts it. */
export class ProgressReports {
  readonly #running: ReadonlyMap<unknown, RunningAssignment>;
  readonly #send: (running: RunningAssignment, fraction: number) => boolean;
  readonly #onSweep: () => void;
  /** What the coordinator of this session was told. */
  #told = new WeakMap<RunningAssignment, Told>();
  #sweeps: NodeJS.Timeout | undefined;

  /** `send` says whether there was somebody to tell. */
  constructor(init: {
    readonly running: ReadonlyMap<unknown, RunningAssignment>;
    readonly send: (running: RunningAssignment, fraction: number) => boolean;
    readonly onSweep: () => void;
  }) {
    this.#running = init.running;
    this.#send = init.send;
    this.#onSweep = init.onSweep;
  }

  /** Follows an assignment that begins. */
  follow(running: RunningAssignment): void {
    // The result of a tiny task follows so soon that it is the acceptance; the sweep sees to it if not.
    if (!running.plan.tiny) this.#tell(running, 0);
    this.#sweeps ??= setInterval(() => this.#sweep(), SWEEP_MS);
  }

  /** Tells everything again: the coordinator is another one. */
  reset(): void {
    this.#told = new WeakMap();
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
      const told = this.#told.get(running);
      const { fraction } = running;
      if (!told || (now - told.at >= PROGRESS_MS && fraction > told.fraction)) this.#tell(running, fraction);
    }
    this.#onSweep();
  }

  #tell(running: RunningAssignment, fraction: number): void {
    if (this.#send(running, fraction)) this.#told.set(running, { at: performance.now(), fraction });
  }
}
