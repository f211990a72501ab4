import type { Clock } from "../../../ports/clock.ts";

/** A reading that is shared by all who ask within `ttlMs` of it, one at a time; one that failed is not kept. */
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
    // Until it has ended nobody starts another one, however long it takes.
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
