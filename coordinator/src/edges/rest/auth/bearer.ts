import { timingSafeEqual } from "node:crypto";
import { sha256 } from "@proof-of-compute/proto";
import type { FastifyRequest } from "fastify";

/** Whether the request carries this bearer token, compared in constant time. False when `token` is undefined. */
export function hasBearer(request: FastifyRequest, token: string | undefined): boolean {
  const [scheme, given] = (request.headers.authorization ?? "").split(" ");
  if (token === undefined || scheme?.toLowerCase() !== "bearer" || given === undefined) return false;
  // timingSafeEqual needs equal lengths, which digests have.
  return timingSafeEqual(sha256(Buffer.from(given)), sha256(Buffer.from(token)));
}
