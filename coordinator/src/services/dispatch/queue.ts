import type { Address } from "@proof-of-compute/proto";

/**
 * Counts queued tasks by requester: exactly with one coordinator, as of the last read of the store with several. Requesters take
 * turns, so that a long queue of one does not delay the short queue of another.
 */
export class Queue {
  /** In order of turns: a requester that had one moves to the end. */
  #depths = new Map<Address, number>();
  #size = 0;
  /** Requesters of tasks added while the store is read; undefined while it is not. */
  #added: Address[] | undefined;

  /** Queued tasks. */
  get size(): number {
    return this.#size;
  }

  /** Queued tasks of one requester. */
  depth(requester: Address): number {
    return this.#depths.get(requester) ?? 0;
  }

  /** Counts a task that was queued (1) or left the queue (-1). */
  add(requester: Address, change: number): void {
    if (change === 0) return;
    if (change > 0) this.#added?.push(requester);
    const depth = this.depth(requester) + change;
    if (depth > 0) this.#depths.set(requester, depth);
    else this.#depths.delete(requester);
    this.#size = Math.max(0, this.#size + change);
  }

  /**
   * Reloads the counts. Tasks added during the read are counted again: overcounting costs a look, undercounting would lose a
   * task.
   */
  async refresh(
    read: () => Promise<readonly { readonly requester: Address; readonly queued: number }[]>,
  ): Promise<void> {
    const added: Address[] = [];
    this.#added = added;
    try {
      this.#replace(await read());
    } finally {
      this.#added = undefined;
    }
    for (const requester of added) this.add(requester, 1);
  }

  /** The next requesters in turn, at most `limit`, except those in `without`. */
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

  /** Keeps the order of turns. */
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
