import { setTimeout as sleep } from "node:timers/promises";
import type { Child, ProgramEnded } from "./children.ts";

/** Pause before a dead program starts again; doubled each time, up to the longest. */
const FIRST_PAUSE_MS = 1_000;
const LONGEST_PAUSE_MS = 30_000;
/** A program that lived so long died of something new: the pause is the first again. */
const STABLE_MS = 60_000;

/** Who hears of a program's deaths. */
export interface Keeper {
  /** It died before {@link KeptChild.keep}. */
  onFailure(error: Error): void;
  /** It died and starts again after the pause. */
  onDeath(death: ProgramEnded, pauseMs: number): void;
  /** It was started again. */
  onRestart(): void;
}

/** A program that is started again whenever it dies, once it was up. */
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

  /** It is up: from now on its death is no failure of the whole. */
  keep(): void {
    this.#kept = true;
  }

  /** Ends it for good; see {@link Child.stop}. */
  async stop(): Promise<void> {
    this.#stopping.abort();
    await this.#child.stop();
  }

  /** Ends it for good, at once. */
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
