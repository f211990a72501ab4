import { api, type BatchSummary, call, isAbort, messageOf, type NetworkView, type Node } from "#lib/api/client.ts";

const LIST = 20;

/** The network as anybody may see it. */
export class Network {
  view = $state.raw<NetworkView>();
  nodes = $state.raw<readonly Node[]>();
  batches = $state.raw<readonly BatchSummary[]>();
  error = $state<string>();

  async refresh(signal: AbortSignal): Promise<void> {
    const query = { limit: LIST };
    try {
      const [view, online, batches] = await Promise.all([
        call(api.GET("/api/network", { signal })),
        call(api.GET("/api/nodes", { params: { query: { ...query, status: "online" } }, signal })),
        call(api.GET("/api/batches", { params: { query }, signal })),
      ]);
      this.view = view;
      this.nodes = online.items;
      this.batches = batches.items;
      this.error = undefined;
    } catch (error) {
      if (!isAbort(error)) this.error = messageOf(error);
    }
  }
}
