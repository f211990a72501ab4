import { createServer, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";

/** A JSON-RPC request as it came from the client. */
export interface RpcRequest {
  readonly id: number | string;
  readonly method: string;
  readonly params: unknown[];
}

/**
 * What to do with a request: pass it on (undefined), at once or late; break the connection before or after the chain has
 * acted on it; never answer; answer with an HTTP status, an error of the RPC's, or a result that the chain knows nothing of.
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

/** A JSON-RPC server in front of a chain, with the finality and the faults of a real network. */
export interface RpcProxy {
  readonly url: string;
  /** The chain behind it; another one takes over at once. */
  target: string;
  /** Blocks that `finalized` lies behind `latest`; the simulated chain itself has no lag. */
  lag: number;
  /** Asked for every request. */
  fault: (request: RpcRequest) => RpcFault | Promise<RpcFault>;
  /** Changes the results that the chain gave. */
  rewrite: (request: RpcRequest, result: unknown) => unknown;
  /** Every request so far, in order. */
  readonly calls: RpcRequest[];
  stop(): Promise<void>;
}

/** Where a method's block parameter stands. */
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
  /** The number of the block that counts as final, as a quantity. */
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
    // As chains do: pages of any origin may ask.
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
