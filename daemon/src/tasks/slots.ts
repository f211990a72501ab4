import { TASK_KINDS, type TaskKindName } from "@proof-of-compute/proto";
import type { KindOffer } from "@proof-of-compute/proto/node";
import type { Executor } from "../kinds/kind.ts";
import type { Rates } from "../kinds/rates.ts";

/** Most slots of a node (node.proto). */
const MAX_SLOTS = 1_024;

/**
 * How many assignments the node runs at once: its CPU slots, which kinds share, and the slots of kinds with hardware of their
 * own.
 */
export class Slots {
  readonly #executors: readonly Executor[];
  readonly #cpu: number;
  readonly #rates: Rates;

  constructor(executors: readonly Executor[], init: { readonly cpu: number; readonly rates: Rates }) {
    this.#executors = executors;
    this.#cpu = init.cpu;
    this.#rates = init.rates;
  }

  /** Of all kinds together, 1 to 1,024. */
  get total(): number {
    const own = this.#executors.reduce((sum, { slots }) => sum + (slots ?? 0), 0);
    const cpu = this.#executors.some(({ slots }) => slots === undefined) ? this.#cpu : 0;
    return Math.min(MAX_SLOTS, Math.max(1, cpu + own));
  }

  /** Whether `executor` may begin another task while these run. */
  hasRoomFor(executor: Executor, running: Iterable<{ readonly executor: Executor }>): boolean {
    const isCpu = executor.slots === undefined;
    let all = 0;
    let same = 0;
    for (const { executor: other } of running) {
      all++;
      if (other === executor || (isCpu && other.slots === undefined)) same++;
    }
    return all < this.total && same < (executor.slots ?? this.#cpu);
  }

  /** What the node offers of each kind now, up to `total`, the slots in this session's Hello. */
  offers(total: number): KindOffer[] {
    return this.#executors.map(({ kind: { name }, slots }) => ({
      kind: TASK_KINDS[name],
      slots: Math.min(slots ?? this.#cpu, total),
      ...this.#rateOf(name),
    }));
  }

  #rateOf(name: TaskKindName): Pick<KindOffer, "unitsPerSecond"> {
    const rate = this.#rates.get(name);
    return rate === undefined ? {} : { unitsPerSecond: BigInt(rate) };
  }
}
