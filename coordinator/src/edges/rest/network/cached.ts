import type { Clock } from "../../../ports/clock.ts";

/** A value read at most once in `ttlMs`, one read at a time; all callers share it. A failed read is not cached. */
export class Cached<T> {
  readonly #clock: Clock;
  readonly #ttlMs: number;
  readonly #read: () => Promise<T>;
  #reading: Promise<T> | undefined;
  #freshUntil = Number.NEGATIVE_INFINITY;

  constructor({ clock }: { readonly clock: Clock }, init: { readonly ttlMs: number; readonly read: () => Promise<T> }) {
    this.#clock = clock;
    this.#ttlMs = init.ttlMs;
    this.#read = init.read;
  }

  get(): Promise<T> {
    if (this.#reading && this.#clock.monotonic() < this.#freshUntil) return this.#reading;
    // No second read starts before this one has ended, however long it takes.
    this.#freshUntil = Number.POSITIVE_INFINITY;
    const started = this.#clock.monotonic();
    this.#reading = this.#read().then(
      (value) => {
        this.#freshUntil = started + this.#ttlMs;
        return value;
      },
      (error: unknown) => {
        this.#reading = undefined;
        throw error;
      },
    );
    return this.#reading;
  }
}
