import type { Hex } from "@proof-of-compute/proto";
import type { FastifyRequest } from "fastify";
import { ComputeError } from "../../../domain/errors.ts";
import { NudgeMessage, PEER_PATHS, ProgressQuestion, peerToken } from "../../../net/peer-messages.ts";
import { hasBearer } from "../auth/bearer.ts";
import type { RestApp, RestContext } from "../context.ts";

/** Whether the request is for the routes between coordinators. */
export function isInternal(request: FastifyRequest): boolean {
  return request.routeOptions.url?.startsWith("/internal/") === true;
}

/** Recognizes coordinators of this network by their token; without a secret it recognizes none. */
export function peerCheck(secret: Uint8Array | undefined): (request: FastifyRequest) => boolean {
  const token = secret && peerToken(secret);
  return (request) => hasBearer(request, token);
}

/** Routes for other coordinators. They are no part of the API, and do not exist without a secret. */
export function peerRoutes(app: RestApp, { components, init }: RestContext): void {
  if (!init.peerSecret) return;
  const { scheduler } = components;
  const isPeer = peerCheck(init.peerSecret);
  // Runs after the rate limit, which counts guesses, and before the body is read.
  const preParsing = async (request: FastifyRequest) => {
    if (!isPeer(request))
      throw new ComputeError("UNAUTHENTICATED", "only coordinators of this network may use this route");
  };

  app.post(PEER_PATHS.nudge, { preParsing, schema: { hide: true, body: NudgeMessage } }, async ({ body }, reply) => {
    scheduler.nudged(body);
    return reply.code(204).send();
  });

  app.post(PEER_PATHS.progress, { preParsing, schema: { hide: true, body: ProgressQuestion } }, async ({ body }) => {
    const progress: Record<Hex, number> = {};
    for (const id of body.taskIds) {
      const known = scheduler.progress(id);
      if (known !== undefined) progress[id] = known;
    }
    return { progress };
  });
}
