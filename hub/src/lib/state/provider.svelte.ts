import type { Address } from "@proof-of-compute/proto";
import { api, call, isAbort, messageOf, type Node } from "#lib/api/client.ts";
import { settlementReasonOf } from "./network.svelte.ts";

const MAX_NODES = 100;
/** Few batches are unfinished at a time: one is being sent, and those before it wait for finality. */
const MAX_BATCHES = 20;

/** What the coordinator reports of one wallet: its nodes, and units that are not recorded yet. */
export class Provider {
  nodes = $state.raw<readonly Node[]>();
  /** Units for the wallet in batches that no final block holds yet. */
  pending = $state<bigint>();
  error = $state<string>();
  /** Compute units that an online node computes in a second, by kind of task, as far as nodes say. */
  unitsPerSecond = $state.raw<Readonly<Record<string, number>>>({});
  /** Why nothing is recorded at present, if so. */
  settlementReason = $state<string>();

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
      this.settlementReason = settlementReasonOf(network);
      this.unitsPerSecond = network.unitsPerSecond;
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
