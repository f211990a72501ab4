import { type ChannelCredentials, credentials } from "@grpc/grpc-js";

import { quoted } from "@proof-of-compute/proto/secrets";
import { isLoopback, proxyFor } from "./proxy.ts";

const DEFAULT_PORT = 50051;

/** Where and how to dial. */
export interface Endpoint {
  /** host:port as it is dialled. */
  readonly address: string;
  /** The coordinator's name in Hello: the address, unless a proxy renames the coordinator. */
  readonly audience: string;
  readonly credentials: ChannelCredentials;
  /** host:port of the proxy on the way, if any. */
  readonly proxy?: string;
}

/** How to dial coordinators. */
export interface DialOptions {
  /** Plain text even beyond this machine. */
  readonly insecure: boolean;
  /** PEM of the authority that signed the coordinator's certificate; default: those of the system. */
  readonly tlsCa?: Buffer;
  /** Name of the coordinator, where it differs from the dialled one. */
  readonly audience?: string;
}

/**
 * Where to dial for `text`, a `host`, `host:port` or `[ipv6]:port`. Plain text on this machine unless an authority is
 * given, TLS elsewhere unless `insecure`. Throws a RangeError that says what is wrong.
 */
export function parseEndpoint(text: string, options: DialOptions): Endpoint {
  const match = /^(\[[0-9a-f:.%]+\]|[^\s:/[\]]+)(?::(\d{1,5}))?$/i.exec(text);
  if (!match)
    throw new RangeError(`${quoted(text)} is not host:port${text.includes("//") ? " (no http:// before it)" : ""}`);
  const [, host, port = String(DEFAULT_PORT)] = match;
  if (Number(port) < 1 || Number(port) > 65_535)
    throw new RangeError(`${quoted(text)}: a port is a number from 1 to 65535`);
  const address = `${host}:${port}`;
  const plain = options.insecure || (options.tlsCa === undefined && isLoopback(host!));
  const proxy = proxyFor(host!);
  return {
    ...(proxy !== undefined && { proxy }),
    address,
    audience: options.audience ?? address,
    credentials: plain ? credentials.createInsecure() : credentials.createSsl(options.tlsCa ?? null),
  };
}
