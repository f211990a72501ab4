import { setTimeout as sleep } from "node:timers/promises";
import type { Child, ProgramEnded } from "./children.ts";

/** Pause before a restart; doubled each time, up to the longest. */
const FIRST_PAUSE_MS = 1_000;
const LONGEST_PAUSE_MS = 30_000;
/** After this time a death counts as unrelated to earlier ones, and the pause is the first one again. */
const STABLE_MS = 60_000;

/** Callbacks for a program's deaths. */
export interface Keeper {
  /** The program died before {@link KeptChild.keep}. */
  onFailure(error: Error): void;
  /** The program died, and restarts after the pause. */
  onDeath(death: ProgramEnded, pauseMs: number): void;
  /** The program was restarted. */
  onRestart(): void;
}

/** A program that is restarted whenever it dies, once it was ready. */
export class KeptChild {
  readonly #start: () => Child;
  readonly #keeper: Keeper;
  readonly #stopping = new AbortController();
  #child: Child;
  #startedAt = 0;
  #pauseMs = FIRST_PAUSE_MS;
  #kept = false;

  constructor(start: () => Child, keeper: Keeper) {
    this.#start = start;
    this.#keeper = keeper;
    this.#child = this.#run();
  }

  /** Declares the program ready: from now on it is restarted when it dies. */
  keep(): void {
    this.#kept = true;
  }

  /** Stops the program for good; see {@link Child.stop}. */
  async stop(): Promise<void> {
    this.#stopping.abort();
    await this.#child.stop();
  }

  /** Kills the program for good. */
  kill(): void {
    this.#stopping.abort();
    this.#child.kill();
  }

  #run(): Child {
    const child = this.#start();
    this.#startedAt = performance.now();
    child.failed.catch((death: ProgramEnded) => (this.#kept ? this.#again(death) : this.#keeper.onFailure(death)));
    return child;
  }

  async #again(death: ProgramEnded): Promise<void> {
    if (performance.now() - this.#startedAt > STABLE_MS) this.#pauseMs = FIRST_PAUSE_MS;
    const pauseMs = this.#pauseMs;
    this.#pauseMs = Math.min(LONGEST_PAUSE_MS, 2 * pauseMs);
    this.#keeper.onDeath(death, pauseMs);
    const { signal } = this.#stopping;
    await sleep(pauseMs, undefined, { signal }).catch(() => {});
    if (signal.aborted) return;
    this.#child = this.#run();
    this.#keeper.onRestart();
  }
}
