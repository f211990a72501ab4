import { api, type BatchSummary, call, isAbort, messageOf, type NetworkView, type Node } from "#lib/api/client.ts";

const LIST = 20;

/** Why nothing is recorded on the chain at present; undefined while recording works, here or at another coordinator. */
export function settlementReasonOf({ settlement }: NetworkView): string | undefined {
  if (settlement.state === "running" || settlement.state === "standby") return undefined;
  return settlement.reason ?? "Nothing is recorded at present.";
}

/** The public facts of the network. */
export class Network {
  view = $state.raw<NetworkView>();
  readonly settlementReason = $derived(this.view && settlementReasonOf(this.view));
  nodes = $state.raw<readonly Node[]>();
  batches = $state.raw<readonly BatchSummary[]>();
  error = $state<string>();

  /** Reads the totals only. */
  refreshTotals(signal: AbortSignal): Promise<void> {
    return this.#attempt(async () => {
      this.view = await call(api.GET("/api/network", { signal }));
    });
  }

  /** Reads everything. */
  refresh(signal: AbortSignal): Promise<void> {
    return this.#attempt(async () => {
      const query = { limit: LIST };
      const [view, online, batches] = await Promise.all([
        call(api.GET("/api/network", { signal })),
        call(api.GET("/api/nodes", { params: { query: { ...query, status: "online" } }, signal })),
        call(api.GET("/api/batches", { params: { query }, signal })),
      ]);
      this.view = view;
      this.nodes = online.items;
      this.batches = batches.items;
    });
  }

  async #attempt(read: () => Promise<void>): Promise<void> {
    try {
      await read();
      this.error = undefined;
    } catch (error) {
      if (!isAbort(error)) this.error = messageOf(error);
    }
  }
}
