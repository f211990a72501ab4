import type { TaskKindName } from "../receipt.ts";

/** Each side's description of a kind, found by the kind's name. */
interface Named {
  readonly name: TaskKindName;
}

/** The kinds that one program knows, by name. Immutable. */
export class KindRegistry<K extends Named> implements Iterable<K> {
  readonly #kinds: ReadonlyMap<string, K>;

  /** Throws a RangeError when two kinds have the same name. */
  constructor(kinds: readonly K[]) {
    this.#kinds = new Map(kinds.map((kind) => [kind.name, kind]));
    if (this.#kinds.size !== kinds.length) throw new RangeError("two kinds have the same name");
  }

  /** Undefined for a kind that this program does not know; a newer one may. */
  get(name: string): K | undefined {
    return this.#kinds.get(name);
  }

  get names(): readonly TaskKindName[] {
    return Array.from(this.#kinds.values(), ({ name }) => name);
  }

  /** A registry of these kinds and `more`. */
  with(...more: readonly K[]): KindRegistry<K> {
    return new KindRegistry([...this.#kinds.values(), ...more]);
  }

  [Symbol.iterator](): Iterator<K> {
    return this.#kinds.values();
  }
}
