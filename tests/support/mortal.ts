/** A process that dies at one of its calls to the store or the chain: that call and all later ones never return. */
export class Mortal {
  /** How many calls it made. */
  calls = 0;
  /** Set by hand it dies at its next call. */
  dead = false;
  readonly #diesAt: number;
  readonly #afterEffect: boolean;

  /** It dies at call `diesAt`, from 0, before or after that had its effect. */
  constructor(diesAt: number, afterEffect: boolean) {
    this.#diesAt = diesAt;
    this.#afterEffect = afterEffect;
  }

  /** `port` as that process sees it; its methods run on the port itself, whose private members a proxy lacks. */
  mortal<T extends object>(port: T): T {
    return new Proxy(port, {
      get: (target, name) => {
        const value: unknown = Reflect.get(target, name, target);
        if (typeof value !== "function") return value;
        return (...values: unknown[]) => this.#call(() => value.apply(target, values));
      },
    });
  }

  async #call(effect: () => unknown): Promise<unknown> {
    if (this.dead) return new Promise(() => undefined);
    if (this.calls++ !== this.#diesAt) return effect();
    this.dead = true;
    if (this.#afterEffect) await effect();
    return new Promise(() => undefined);
  }
}
