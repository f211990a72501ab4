/**
 * A process that stops at one of its calls to the store or the chain: this call and all later ones do not return, for
 * good (kill -9), or until it is revived with its old state (SIGSTOP, then SIGCONT).
 */
export class Mortal {
  /** If a test sets this, the process stops at its next call. */
  dead = false;
  /** Every call until the stop, by port and method. */
  readonly calls: string[] = [];
  readonly #diesAt: number;
  readonly #afterEffect: boolean;
  readonly #revived = Promise.withResolvers<void>();

  /** Stops at call `diesAt`, counted from 0, before or after it takes effect. */
  constructor(diesAt = Number.POSITIVE_INFINITY, afterEffect = false) {
    this.#diesAt = diesAt;
    this.#afterEffect = afterEffect;
  }

  /** The process's view of `port`. Methods run on the port itself, because a proxy has no private members. */
  mortal<T extends object>(port: T, name: string): T {
    return new Proxy(port, {
      get: (target, method) => {
        const value: unknown = Reflect.get(target, method, target);
        if (typeof value !== "function") return value;
        return (...values: unknown[]) => this.#call(`${name}.${String(method)}`, () => value.apply(target, values));
      },
    });
  }

  /** The call at which it stopped. */
  get lastStep(): string {
    return `${this.#afterEffect ? "after " : "before"} ${this.calls.at(-1)}`;
  }

  /** Lets its calls return again. */
  revive(): void {
    this.dead = false;
    this.#revived.resolve();
  }

  async #call(step: string, effect: () => unknown): Promise<unknown> {
    if (this.dead) return this.#revived.promise.then(effect);
    if (this.calls.push(step) !== this.#diesAt + 1) return effect();
    this.dead = true;
    if (!this.#afterEffect) return this.#revived.promise.then(effect);
    const [outcome] = await Promise.allSettled([effect()]);
    await this.#revived.promise;
    if (outcome.status === "rejected") throw outcome.reason;
    return outcome.value;
  }
}
