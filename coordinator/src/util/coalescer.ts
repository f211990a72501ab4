/**
 * Runs `work` once at a time. A request during a run leads to exactly one more run, however many come: that run sees
 * everything that the requests were made for.
 */
export class Coalescer {
  readonly #work: () => Promise<void>;
  #current: Promise<void> | undefined;
  #next: Promise<void> | undefined;

  constructor(work: () => Promise<void>) {
    this.#work = work;
  }

  /** Starts a run, or asks for one more after the present one. Resolves or rejects as the run that covers this request. */
  request(): Promise<void> {
    if (!this.#current) return this.#start();
    const follow = () => this.#start();
    this.#next ??= this.#current.then(follow, follow);
    return this.#next;
  }

  /** Resolves once no run is under way or due, whether the last one succeeded or not. */
  async idle(): Promise<void> {
    while (this.#current) await (this.#next ?? this.#current).catch(() => {});
  }

  #start(): Promise<void> {
    this.#next = undefined;
    this.#current = Promise.try(this.#work).finally(() => {
      // A run that is due keeps the place, so that no request starts another beside it.
      if (!this.#next) this.#current = undefined;
    });
    return this.#current;
  }
}
