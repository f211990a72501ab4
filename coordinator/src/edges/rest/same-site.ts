import { isIPv6 } from "node:net";
import type { FastifyInstance, FastifyRequest } from "fastify";
import { ComputeError } from "../../domain/errors.ts";
import type { RestInit } from "./components.ts";

/** Methods that change nothing. */
export const SAFE_METHODS: ReadonlySet<string> = new Set(["GET", "HEAD", "OPTIONS"]);

/** Addresses to listen on that a browser on this machine reaches by every local name. */
const LOCAL = new Set(["127.0.0.1", "::1", "localhost", "0.0.0.0", "::"]);

/** Origins of the address that the facade listens on; they count when no public origins are configured. */
export function listeningOrigins(app: FastifyInstance, { host, port }: RestInit["address"]): readonly string[] {
  const listening = app.server.address();
  const bound = listening !== null && typeof listening === "object" ? listening.port : port;
  const hosts = LOCAL.has(host) ? ["127.0.0.1", "localhost", "[::1]"] : [isIPv6(host) ? `[${host}]` : host];
  return hosts.map((name) => new URL(`http://${name}:${bound}`).origin);
}

/**
 * Refuses requests that a page of another site makes a browser send. Browsers name the origin in Origin or Sec-Fetch-Site with
 * every unsafe method; a request with neither header is no browser's, and carries no cookie unasked.
 */
export function checkSameSite(request: FastifyRequest, origins: readonly string[]): void {
  if (SAFE_METHODS.has(request.method)) return;
  const { origin, "sec-fetch-site": site } = request.headers;
  const isOwn =
    origin === undefined ? site === undefined || site === "same-origin" || site === "none" : origins.includes(origin);
  if (!isOwn) {
    throw new ComputeError("CROSS_SITE", `the request comes from ${origin ?? site}, this is ${origins.join(" or ")}`);
  }
}
