import { hostname } from "node:os";
import { networkByChainId } from "@proof-of-compute/proto";
import { hostPort, isAnywhere, localForms } from "../net/host-port.ts";
import type { Settings } from "./table.ts";

/**
 * host:port that providers are told to dial. With `wanted`, other machines cannot dial it, and PUBLIC_GRPC_ADDRESS should
 * be set. `port` is the bound port.
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

/**
 * The RPC for browsers: XDC_RPC_URL of the local chain alone, and only if it is no more than an origin. User, password, path and
 * query may be a key.
 */
export function publicRpcUrl(settings: Settings, chainId: number | undefined): string | undefined {
  if (settings.PUBLIC_RPC_URL !== undefined) return settings.PUBLIC_RPC_URL;
  const known = chainId === undefined ? undefined : networkByChainId(chainId);
  if (known?.name === "local") return isOriginAlone(settings.XDC_RPC_URL) ? settings.XDC_RPC_URL : undefined;
  return known?.rpcUrl;
}

function isOriginAlone(url: string | undefined): boolean {
  const parsed = url === undefined ? null : URL.parse(url);
  return parsed !== null && parsed.href === `${parsed.origin}/`;
}

/** URL at which peers reach this coordinator; `port` is the bound port. */
export function peerAddress(
  { PEER_ADDRESS, HTTP_ADDRESS: { host } }: Pick<Settings, "PEER_ADDRESS" | "HTTP_ADDRESS">,
  port: number,
): string {
  return PEER_ADDRESS ?? `http://${hostPort({ host: isAnywhere(host) ? hostname() : host, port })}`;
}

/** Names that nodes may dial, in lower case. With port 0 the caller adds the bound port later. */
export function audiencesOf(
  settings: Pick<Settings, "GRPC_AUDIENCES" | "GRPC_ADDRESS" | "PUBLIC_GRPC_ADDRESS">,
): Set<string> {
  const { GRPC_AUDIENCES, GRPC_ADDRESS, PUBLIC_GRPC_ADDRESS } = settings;
  const names = GRPC_AUDIENCES ?? [...localForms(GRPC_ADDRESS), ...(PUBLIC_GRPC_ADDRESS ? [PUBLIC_GRPC_ADDRESS] : [])];
  return new Set(names.map((name) => name.toLowerCase()));
}
