import type { Address } from "@proof-of-compute/proto";

/**
 * How many tasks wait, and whose, as far as is known here: exactly with one coordinator, to within the last look at the
 * store with several. Deals out turns, so that a requester with a long queue does not keep one with a short queue waiting.
 */
export class Queue {
  /** In order of turns: whoever had one goes to the end. */
  #depths = new Map<Address, number>();
  #size = 0;
  /** Whose tasks came since the store was asked. */
  #came: Address[] = [];

  /** Tasks that wait. */
  get size(): number {
    return this.#size;
  }

  /** Tasks of one requester that wait. */
  depth(requester: Address): number {
    return this.#depths.get(requester) ?? 0;
  }

  /** A task came (1) or went (-1). */
  add(requester: Address, change: number): void {
    if (change === 0) return;
    if (change > 0) this.#came.push(requester);
    const depth = this.depth(requester) + change;
    if (depth > 0) this.#depths.set(requester, depth);
    else this.#depths.delete(requester);
    this.#size = Math.max(0, this.#size + change);
  }

  /** Asks the store. What comes meanwhile is counted on top: rather one too many than one that nobody looks for. */
  async refresh(
    read: () => Promise<readonly { readonly requester: Address; readonly queued: number }[]>,
  ): Promise<void> {
    this.#came = [];
    this.#replace(await read());
    for (const requester of this.#came.splice(0)) this.add(requester, 1);
    this.#came = [];
  }

  /** The requesters whose turn it is, at most `limit`, those in `without` left out. */
  turn(limit: number, without: ReadonlySet<Address>): Address[] {
    const turn: Address[] = [];
    for (const requester of this.#depths.keys()) {
      if (turn.length === limit) break;
      if (!without.has(requester)) turn.push(requester);
    }
    for (const requester of turn) {
      const depth = this.#depths.get(requester)!;
      this.#depths.delete(requester);
      this.#depths.set(requester, depth);
    }
    return turn;
  }

  /** Whose turn it is stays as it was. */
  #replace(depths: readonly { readonly requester: Address; readonly queued: number }[]): void {
    const counted = new Map(depths.map(({ requester, queued }) => [requester, queued]));
    const next = new Map<Address, number>();
    for (const requester of this.#depths.keys()) {
      const queued = counted.get(requester);
      if (queued !== undefined) next.set(requester, queued);
    }
    for (const [requester, queued] of counted) next.set(requester, queued);
    this.#depths = next;
    this.#size = depths.reduce((sum, { queued }) => sum + queued, 0);
  }
}
