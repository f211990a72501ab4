import { setImmediate } from "node:timers/promises";

interface Job<Item, Outcome> {
  readonly item?: Item;
  readonly alone?: () => Promise<void>;
  readonly resolve: (outcome: Outcome) => void;
  readonly reject: (error: unknown) => void;
}

/** The most writes in one trip. Replies are short, and a command stays far below MongoDB's limit of 48 MB. */
const MOST_ITEMS = 500;

type Alone = Pick<Lane<unknown, unknown>, "alone">;

/**
 * Writes in the order of their calls, one trip at a time. Writes of one event-loop turn, and those that come during a
 * trip, share the next trip.
 */
export class Lane<Item, Outcome> {
  readonly #write: (items: readonly Item[]) => Promise<readonly Outcome[]>;
  #queue: Job<Item, Outcome>[] = [];
  #running = false;

  /** `write` resolves with an outcome for each item, in order; if it rejects, so do all its items. */
  constructor(write: (items: readonly Item[]) => Promise<readonly Outcome[]>) {
    this.#write = write;
  }

  /** Adds a write to the next trip. */
  push(item: Item): Promise<Outcome> {
    return new Promise((resolve, reject) => this.#add({ item, resolve, reject }));
  }

  /** Runs alone, after all earlier and before all later writes. */
  alone<T>(run: () => Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      this.#add({ alone: () => run().then(resolve, reject), resolve: () => undefined, reject });
    });
  }

  /** Settles once all earlier writes have settled. */
  idle(): Promise<void> {
    return this.alone(async () => undefined);
  }

  #add(job: Job<Item, Outcome>): void {
    this.#queue.push(job);
    if (this.#running) return;
    this.#running = true;
    void this.#run();
  }

  async #run(): Promise<void> {
    await setImmediate();
    while (this.#queue.length > 0) {
      const barrier = this.#queue.findIndex(({ alone }) => alone);
      const end = Math.min(barrier < 0 ? this.#queue.length : Math.max(barrier, 1), MOST_ITEMS);
      const jobs = this.#queue.splice(0, end);
      await (jobs[0]!.alone?.() ?? this.#writeAll(jobs));
    }
    this.#running = false;
  }

  async #writeAll(jobs: readonly Job<Item, Outcome>[]): Promise<void> {
    try {
      const outcomes = await this.#write(jobs.map(({ item }) => item!));
      jobs.forEach(({ resolve }, index) => {
        resolve(outcomes[index]!);
      });
    } catch (error) {
      for (const { reject } of jobs) reject(error);
    }
  }
}

/** Runs alone in two lanes, after all earlier and before all later writes of both. */
export function aloneInBoth<T>(one: Alone, other: Alone, run: () => Promise<T>): Promise<T> {
  const { promise: turn, resolve: reached } = Promise.withResolvers<void>();
  const done = one.alone(async () => {
    await turn;
    return run();
  });
  return other.alone(() => {
    reached();
    return done;
  });
}

/**
 * Splits writes into rounds: no two writes of a round have the same subject, and writes of a subject keep their order.
 */
export function roundsOf<Item>(items: readonly Item[], keyOf: (item: Item) => string): Item[][] {
  const rounds: Item[][] = [];
  const used = new Map<string, number>();
  for (const item of items) {
    const key = keyOf(item);
    const round = used.get(key) ?? 0;
    used.set(key, round + 1);
    rounds[round] ??= [];
    rounds[round].push(item);
  }
  return rounds;
}

/** Splits items into chunks of at most `size`. */
export function chunksOf<Item>(items: readonly Item[], size: number): Item[][] {
  return Array.from({ length: Math.ceil(items.length / size) }, (_, n) => items.slice(n * size, (n + 1) * size));
}
