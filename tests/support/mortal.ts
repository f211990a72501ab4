/**
 * A process that stops at one of its calls to the store or the chain: that call and all later ones do not return. For good
 * (kill -9), or until it is revived (SIGSTOP, then SIGCONT) and goes on with what it believed then.
 */
export class Mortal {
  /** Set by hand it stops at its next call. */
  dead = false;
  /** Every call until then, by port and method. */
  readonly calls: string[] = [];
  readonly #diesAt: number;
  readonly #afterEffect: boolean;
  readonly #revived = Promise.withResolvers<void>();

  /** It stops at call `diesAt`, from 0, before or after that had its effect. */
  constructor(diesAt = Number.POSITIVE_INFINITY, afterEffect = false) {
    this.#diesAt = diesAt;
    this.#afterEffect = afterEffect;
  }

  /** `port` as that process sees it; its methods run on the port itself, whose private members a proxy lacks. */
  mortal<T extends object>(port: T, name: string): T {
    return new Proxy(port, {
      get: (target, method) => {
        const value: unknown = Reflect.get(target, method, target);
        if (typeof value !== "function") return value;
        return (...values: unknown[]) => this.#call(`${name}.${String(method)}`, () => value.apply(target, values));
      },
    });
  }

  /** Where it stopped. */
  get lastStep(): string {
    return `${this.#afterEffect ? "after " : "before"} ${this.calls.at(-1)}`;
  }

  /** Its calls return from now on. */
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
