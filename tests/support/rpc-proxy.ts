import { createServer, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";

/** A JSON-RPC request of a client. */
export interface RpcRequest {
  readonly id: number | string;
  readonly method: string;
  readonly params: unknown[];
}

/**
 * What to do with a request: forward it, at once (undefined) or late; break the connection before or after the chain acts
 * on it; never answer; answer with an HTTP status, an RPC error, or a made-up result.
 */
export type RpcFault =
  | "drop"
  | "drop-response"
  | "hang"
  | { readonly delayMs: number }
  | { readonly status: number }
  | { readonly code: number; readonly message: string }
  | { readonly result: unknown }
  | undefined;

/** A JSON-RPC proxy for a chain, with the finality and the faults of a real network. */
export interface RpcProxy {
  readonly url: string;
  /** The chain behind the proxy; may be changed at any time. */
  target: string;
  /** Blocks by which `finalized` lags behind `latest`; the simulated chain itself has no lag. */
  lag: number;
  /** Chooses the fault of every request. */
  fault: (request: RpcRequest) => RpcFault | Promise<RpcFault>;
  /** Changes results of the chain. */
  rewrite: (request: RpcRequest, result: unknown) => unknown;
  /** Every request so far, in order. */
  readonly calls: RpcRequest[];
  stop(): Promise<void>;
}

/** Index of a method's block parameter. */
const BLOCK_PARAM: Readonly<Record<string, number>> = { eth_call: 1, eth_getBlockByNumber: 0, eth_getBalance: 1 };

/** Starts a proxy in front of the chain at `target`. */
export async function startRpcProxy(target: string, options: { lag?: number } = {}): Promise<RpcProxy> {
  const upstream = async (request: Omit<RpcRequest, "id">): Promise<object> => {
    const body = JSON.stringify({ jsonrpc: "2.0", id: 1, ...request });
    const response = await fetch(proxy.target, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body,
    });
    return (await response.json()) as object;
  };
  /** The number of the finalized block, as a quantity. */
  const finalized = async (): Promise<string> => {
    const head = (await upstream({ method: "eth_blockNumber", params: [] })) as { result: string };
    return `0x${Math.max(0, Number(head.result) - proxy.lag).toString(16)}`;
  };
  const answer = async (request: RpcRequest, response: ServerResponse): Promise<void> => {
    const fault = await proxy.fault(request);
    proxy.calls.push(request);
    if (fault === "hang") return;
    if (fault === "drop") return void response.destroy();
    if (typeof fault === "object" && "status" in fault) return void response.writeHead(fault.status).end();
    const isAnswer = typeof fault === "object" && !("delayMs" in fault);
    let reply: object = isAnswer && "result" in fault ? fault : { error: fault };
    if (!isAnswer) {
      if (typeof fault === "object") await sleep(fault.delayMs);
      const params = [...request.params];
      const at = BLOCK_PARAM[request.method];
      if (at !== undefined && params[at] === "finalized") params[at] = await finalized();
      reply = await upstream({ method: request.method, params });
      if ("result" in reply) reply = { result: proxy.rewrite(request, reply.result) };
    }
    if (fault === "drop-response") return void response.destroy();
    response.setHeader("content-type", "application/json");
    response.end(JSON.stringify({ jsonrpc: "2.0", ...reply, id: request.id }));
  };
  const server = createServer(async (incoming, response) => {
    // Like real RPCs, allow pages of any origin.
    response.setHeader("access-control-allow-origin", "*").setHeader("access-control-allow-headers", "content-type");
    if (incoming.method === "OPTIONS") return void response.end();
    try {
      let body = "";
      for await (const chunk of incoming) body += chunk;
      await answer(JSON.parse(body), response);
    } catch {
      response.destroy();
    }
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const proxy: RpcProxy = {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    target,
    lag: options.lag ?? 0,
    fault: () => undefined,
    rewrite: (_request, result) => result,
    calls: [],
    async stop() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
  return proxy;
}
