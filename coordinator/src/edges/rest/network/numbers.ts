import type { TaskKindName } from "@proof-of-compute/proto";
import { isSameOwner } from "../../../domain/owner.ts";
import type { NodeStore } from "../../../ports/nodes.ts";
import type { RestComponents } from "../components.ts";
import { Cached } from "./cached.ts";
import type { NetworkView } from "./schemas.ts";
import { settlementView } from "./views.ts";

/** Milliseconds for which requests share one count, because counting loads the store. */
const COUNTS_MS = 2_000;
/** Online nodes in the sample for rates. Ids are public keys, so the first ones are a random sample. */
const RATE_SAMPLE = 100;

/** By kind, the median rate that online nodes report for one task, in units per second. */
async function readRates(store: Pick<NodeStore, "nodes">): Promise<Partial<Record<TaskKindName, number>>> {
  const { items } = await store.nodes({ status: "online", limit: RATE_SAMPLE });
  const rates = new Map<TaskKindName, number[]>();
  for (const { kind, unitsPerSecond } of items.flatMap(({ offers }) => offers)) {
    if (unitsPerSecond !== undefined) rates.set(kind, [...(rates.get(kind) ?? []), unitsPerSecond]);
  }
  const median = (of: number[]) => of.sort((a, b) => a - b)[of.length >> 1]!;
  return Object.fromEntries(Array.from(rates, ([kind, of]) => [kind, median(of)]));
}

/** The network in numbers, each read from the store at most every two seconds. */
export class NetworkNumbers {
  readonly #components: Pick<RestComponents, "peers" | "settlement">;
  readonly #nodeCounts: Cached<Awaited<ReturnType<RestComponents["store"]["nodeCounts"]>>>;
  readonly #totals: Cached<Awaited<ReturnType<RestComponents["store"]["totals"]>>>;
  readonly #rates: Cached<Partial<Record<TaskKindName, number>>>;
  readonly #coordinators: Cached<Awaited<ReturnType<RestComponents["store"]["coordinators"]>>>;

  constructor(components: Pick<RestComponents, "store" | "clock" | "peers" | "settlement">) {
    const { store } = components;
    const shared = <T>(read: () => Promise<T>) => new Cached(components, { ttlMs: COUNTS_MS, read });
    this.#components = components;
    this.#nodeCounts = shared(() => store.nodeCounts());
    this.#totals = shared(() => store.totals());
    this.#rates = shared(() => readRates(store));
    this.#coordinators = shared(() => store.coordinators());
  }

  /** Nodes by status. Rejects while the store is unavailable. */
  nodeCounts() {
    return this.#nodeCounts.get();
  }

  async view(): Promise<NetworkView> {
    const { peers, settlement } = this.#components;
    const [{ online, suspect }, { tasks, receipts, unbatched, units }, unitsPerSecond, known] = await Promise.all([
      this.#nodeCounts.get(),
      this.#totals.get(),
      this.#rates.get(),
      this.#coordinators.get(),
    ]);
    return {
      nodes: { online, suspect },
      unitsPerSecond,
      queue: { queued: tasks.queued, running: tasks.running + tasks.cancelling },
      coordinators: known
        .filter((coordinator) => peers.isAlive(coordinator))
        .map((coordinator) => ({
          id: coordinator.coordinatorId,
          version: coordinator.version,
          startedAt: coordinator.startedAt,
          ...(isSameOwner(coordinator, peers.self) && { self: true as const }),
        })),
      tasks: { ...tasks },
      receipts,
      unbatchedReceipts: unbatched.count,
      units: { verified: units.verified.toString(), recorded: units.recorded.toString() },
      settlement: settlementView(settlement.status()),
    };
  }
}
