import type { TaskKindName } from "../receipt.ts";

/** What has a kind's name: each side's description of a kind. */
interface Named {
  readonly name: TaskKindName;
}

/** The kinds that one program knows, by name. Immutable. */
export class KindRegistry<K extends Named> implements Iterable<K> {
  readonly #kinds: ReadonlyMap<string, K>;

  /** Throws a RangeError when two kinds have one name. */
  constructor(kinds: readonly K[]) {
    this.#kinds = new Map(kinds.map((kind) => [kind.name, kind]));
    if (this.#kinds.size !== kinds.length) throw new RangeError("two kinds have one name");
  }

  /** The kind of that name; undefined when this program does not know it, as that of a newer one. */
  get(name: string): K | undefined {
    return this.#kinds.get(name);
  }

  get names(): readonly TaskKindName[] {
    return Array.from(this.#kinds.values(), ({ name }) => name);
  }

  /** These kinds and more, for programs and tests that add their own. */
  with(...more: readonly K[]): KindRegistry<K> {
    return new KindRegistry([...this.#kinds.values(), ...more]);
  }

  [Symbol.iterator](): Iterator<K> {
    return this.#kinds.values();
  }
}
