import { BlockList, isIPv4 } from "node:net";

/** What names a proxy for gRPC connections, and what names hosts that are dialled without one; the first that is set counts. */
const PROXY = ["grpc_proxy", "https_proxy", "http_proxy"];
const WITHOUT = ["no_grpc_proxy", "no_proxy"];

/**
 * host:port of the proxy through which gRPC dials `host`, if any: the environment names one, in the lower-case variables that
 * grpc-js reads. Nothing on this machine is dialled through a proxy, which would look for it on its own machine.
 */
export function proxyFor(host: string, environment: NodeJS.ProcessEnv = process.env): string | undefined {
  if (isLoopback(host)) return undefined;
  const first = (names: readonly string[]) => names.map((name) => environment[name]).find(Boolean);
  const url = URL.parse(first(PROXY) ?? "");
  // grpc-js speaks to no other kind.
  if (url?.protocol !== "http:") return undefined;
  const isExempt = first(WITHOUT)
    ?.split(",")
    .some((pattern) => matches(host, pattern.trim()));
  return isExempt ? undefined : `${url.hostname}:${url.port || 80}`;
}

/** Whether a host, as one writes it in host:port, is this machine. */
export function isLoopback(host: string): boolean {
  return /^(localhost|.+\.localhost|127(\.\d{1,3}){3}|\[::1\])$/i.test(host);
}

function matches(host: string, pattern: string): boolean {
  const [, network, bits] = /^([\d.]+)\/(\d{1,2})$/.exec(pattern) ?? [];
  if (network !== undefined && isIPv4(network) && Number(bits) <= 32) {
    const list = new BlockList();
    list.addSubnet(network, Number(bits));
    return isIPv4(host) && list.check(host);
  }
  return pattern === "*" || (pattern !== "" && host.endsWith(pattern));
}
