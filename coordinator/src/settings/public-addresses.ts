import { networkByChainId } from "@proof-of-compute/proto";
import { hostPort, isAnywhere } from "../net/host-port.ts";
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
