import type { Clock } from "../../../ports/clock.ts";

/** Values that are forgotten `ttlMs` after they were set; when `capacity` is reached the oldest goes first. */
export class ExpiringMap<V> {
  readonly #entries = new Map<string, { readonly value: V; readonly expiresAt: number }>();
  readonly #clock: Clock;
  readonly #ttlMs: number;
  readonly #capacity: number;

  constructor({ clock }: { readonly clock: Clock }, init: { readonly ttlMs: number; readonly capacity: number }) {
    this.#clock = clock;
    this.#ttlMs = init.ttlMs;
    this.#capacity = init.capacity;
  }

  set(key: string, value: V): void {
    this.#entries.delete(key);
    this.#entries.set(key, { value, expiresAt: this.#clock.now() + this.#ttlMs });
    // All live equally long, so the order of insertion is the order of expiry.
    for (const [oldest, { expiresAt }] of this.#entries) {
      if (this.#entries.size <= this.#capacity && expiresAt > this.#clock.now()) break;
      this.#entries.delete(oldest);
    }
  }

  get(key: string): V | undefined {
    const entry = this.#entries.get(key);
    return entry && entry.expiresAt > this.#clock.now() ? entry.value : undefined;
  }
}
