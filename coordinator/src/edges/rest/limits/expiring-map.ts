import type { Clock } from "../../../ports/clock.ts";

/** Values that expire `ttlMs` after they were set. At `capacity`, the oldest is removed first. */
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
    // All entries live equally long, so they expire in insertion order.
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
