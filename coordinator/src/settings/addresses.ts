import { hostname } from "node:os";
import { networkByChainId } from "@proof-of-compute/proto";
import { hostPort, isAnywhere, localForms } from "../net/host-port.ts";
import type { Settings } from "./table.ts";

/**
 * host:port that providers are told to dial; `wanted`: PUBLIC_GRPC_ADDRESS is, since other machines cannot dial that.
 * `port` is the bound one.
 */
export function publicGrpcAddress(
  { PUBLIC_GRPC_ADDRESS, GRPC_ADDRESS: { host } }: Settings,
  port: number,
): { readonly address: string; readonly wanted: boolean } {
  return {
    address: PUBLIC_GRPC_ADDRESS ?? hostPort({ host, port }),
    wanted: isAnywhere(host) && PUBLIC_GRPC_ADDRESS === undefined,
  };
}

/** The RPC that may be told to browsers: never XDC_RPC_URL of a public chain, which may carry an API key. */
export function publicRpcUrl(settings: Settings, chainId: number | undefined): string | undefined {
  if (settings.PUBLIC_RPC_URL !== undefined) return settings.PUBLIC_RPC_URL;
  const known = chainId === undefined ? undefined : networkByChainId(chainId);
  if (known?.name === "local") return settings.XDC_RPC_URL;
  return known?.rpcUrl;
}

/** Where its peers reach this coordinator; `port` is the bound one. */
export function peerAddress(
  { PEER_ADDRESS, HTTP_ADDRESS: { host } }: Pick<Settings, "PEER_ADDRESS" | "HTTP_ADDRESS">,
  port: number,
): string {
  return PEER_ADDRESS ?? `http://${hostPort({ host: isAnywhere(host) ? hostname() : host, port })}`;
}

/** Names that nodes may dial, in lower case. With port 0 the bound one is known only later, and added then. */
export function audiencesOf(
  settings: Pick<Settings, "GRPC_AUDIENCES" | "GRPC_ADDRESS" | "PUBLIC_GRPC_ADDRESS">,
): Set<string> {
  const { GRPC_AUDIENCES, GRPC_ADDRESS, PUBLIC_GRPC_ADDRESS } = settings;
  const names = GRPC_AUDIENCES ?? [...localForms(GRPC_ADDRESS), ...(PUBLIC_GRPC_ADDRESS ? [PUBLIC_GRPC_ADDRESS] : [])];
  return new Set(names.map((name) => name.toLowerCase()));
}
