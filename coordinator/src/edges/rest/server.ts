import { randomUUID } from "node:crypto";
import type { IncomingMessage, ServerResponse } from "node:http";
import { type FastifyBaseLogger, fastify, LogController, type RawServerDefault } from "fastify";
import { serializerCompiler, validatorCompiler, type ZodTypeProvider } from "fastify-type-provider-zod";
import type { Logger } from "pino";
import type { RestInit } from "./components.ts";
import type { RestApp } from "./context.ts";
import type { RestLimits } from "./limits/limits.ts";
import { sendProblem } from "./problems.ts";
import { unreadableResponse } from "./unreadable.ts";

/** Fastify's own `true` believes the first address of all, which is the client's text where proxies append theirs. */
function trustOf(proxies: RestInit["trustProxy"]): string[] | ((address: string, hop: number) => boolean) {
  return typeof proxies === "number" ? (_address, hop) => hop < proxies : [...proxies];
}

/** A Fastify server with the facade's limits, schemas in zod, and problem documents for every error. */
export function createServer(
  { logger }: { readonly logger: Logger },
  { trustProxy }: Pick<RestInit, "trustProxy">,
  limits: RestLimits,
): RestApp {
  const app: RestApp = fastify<RawServerDefault, IncomingMessage, ServerResponse, FastifyBaseLogger>({
    loggerInstance: logger,
    // A hook logs each request once, when it has been answered.
    logController: new LogController({ disableRequestLogging: true, requestIdLogLabel: "requestId" }),
    trustProxy: trustOf(trustProxy),
    bodyLimit: limits.bodyBytes,
    requestTimeout: limits.requestTimeoutMs,
    connectionTimeout: limits.connectionTimeoutMs,
    http: { maxHeaderSize: limits.headerBytes, connectionsCheckingInterval: limits.requestTimeoutMs },
    routerOptions: { maxParamLength: 128 },
    requestIdHeader: false,
    genReqId: () => randomUUID(),
    forceCloseConnections: "idle",
    frameworkErrors: (error, request, reply) => void sendProblem(error, request, reply),
    clientErrorHandler: ({ code }, socket) => {
      const requestId = randomUUID();
      logger.info({ requestId, code }, "a request could not be read");
      if (socket.writable) socket.end(unreadableResponse(code, requestId));
      else socket.destroy();
    },
  }).withTypeProvider<ZodTypeProvider>();
  app.setValidatorCompiler(validatorCompiler);
  app.setSerializerCompiler(serializerCompiler);
  app.setErrorHandler((error, request, reply) => sendProblem(error, request, reply));
  app.removeContentTypeParser("text/plain");
  return app;
}
