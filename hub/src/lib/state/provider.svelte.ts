import type { Address } from "@proof-of-compute/proto";
import { api, call, isAbort, messageOf, type NetworkView, type Node } from "#lib/api/client.ts";

const MAX_NODES = 100;
/** Batches on their way are few: one is in flight at a time, and those before it await finality. */
const MAX_BATCHES = 20;

/** What the coordinator says of one wallet: its nodes, and the units that are on their way to the chain. */
export class Provider {
  nodes = $state.raw<readonly Node[]>();
  /** Units credited to the wallet by batches that no final block holds yet. */
  pending = $state<bigint>();
  error = $state<string>();
  /** What an online node computes in a second, by the nodes' own word; null when none says. */
  unitsPerSecond = $state<number | null>(null);
  #settlement = $state.raw<NetworkView["settlement"]>();
  /** Why nothing is recorded at present, if so. */
  readonly settlementReason = $derived(
    !this.#settlement || ["running", "standby"].includes(this.#settlement.state)
      ? undefined
      : (this.#settlement.reason ?? "Nothing is recorded at present."),
  );

  readonly #wallet: Address;

  constructor(wallet: Address) {
    this.#wallet = wallet;
  }

  async refresh(signal: AbortSignal | null = null): Promise<void> {
    try {
      const query = { wallet: this.#wallet, limit: MAX_NODES };
      const [status, network, pending] = await Promise.all([
        call(api.GET("/api/node/status", { params: { query }, signal })),
        call(api.GET("/api/network", { signal })),
        this.#readPending(signal),
      ]);
      this.nodes = status.nodes;
      this.#settlement = network.settlement;
      this.unitsPerSecond = network.unitsPerSecond.matmul ?? null;
      this.pending = pending;
      this.error = undefined;
    } catch (error) {
      if (!isAbort(error)) this.error = messageOf(error);
    }
  }

  async #readPending(signal: AbortSignal | null): Promise<bigint> {
    const newest = await call(api.GET("/api/batches", { params: { query: { limit: MAX_BATCHES } }, signal }));
    const underWay = await Promise.all(
      newest.items
        .filter(({ state }) => state !== "recorded")
        .map(({ id }) => call(api.GET("/api/batches/{id}", { params: { path: { id } }, signal }))),
    );
    return underWay
      .flatMap(({ credits }) => credits)
      .filter(({ provider }) => provider === this.#wallet)
      .reduce((sum, { units }) => sum + BigInt(units), 0n);
  }
}
