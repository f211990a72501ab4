import fastifyCookie from "@fastify/cookie";
import fastifyRateLimit from "@fastify/rate-limit";
import { ComputeError } from "../../domain/errors.ts";
import { authRoutes } from "./auth/routes.ts";
import { Sessions } from "./auth/sessions.ts";
import type { RestComponents, RestInit } from "./components.ts";
import { type RestApp, type RestContext, renderTask } from "./context.ts";
import { serveHub } from "./hub.ts";
import { BatchLookup } from "./ledger/batch-lookup.ts";
import { ReceiptFiles } from "./ledger/receipt-files.ts";
import { ledgerRoutes } from "./ledger/routes.ts";
import { DownloadBudget } from "./limits/download-budget.ts";
import { REST_LIMITS } from "./limits/limits.ts";
import { NetworkNumbers } from "./network/numbers.ts";
import { networkRoutes } from "./network/routes.ts";
import { describeApi } from "./openapi.ts";
import { operationsRoutes } from "./operations/routes.ts";
import { isInternal, peerCheck, peerRoutes } from "./peers/routes.ts";
import { checkSameSite, listeningOrigins, SAFE_METHODS } from "./same-site.ts";
import { createServer } from "./server.ts";
import { taskRoutes } from "./tasks/routes.ts";
import { TaskStreams } from "./tasks/streams.ts";

/** Addresses whose requests the rate limits count. */
const RATE_LIMIT_CACHE = 10_000;
/** Routes that the rate limits count; the others are files of the hub and probes. */
const COUNTED = /^\/(api|internal)\//;

/**
 * The REST facade: API, OpenAPI page and hub on one origin. Listen with `app.listen(init.address)`; `app.close()` ends
 * event streams and waits for the requests that are being answered.
 */
export async function createRest(components: RestComponents, init: RestInit): Promise<RestApp> {
  const limits = { ...REST_LIMITS, ...init.limits };
  const app = createServer(components, init, limits);
  const publicOrigins = init.publicOrigins.map((origin) => new URL(origin).origin);
  const origins = () => (publicOrigins.length > 0 ? publicOrigins : listeningOrigins(app, init.address));
  const context = createContext(components, init, limits, origins);
  const { sessions } = context;
  const streams = new TaskStreams({ ...components, sessions, render: (task) => renderTask(context, task) }, limits);

  guardRequests(app, origins);
  logAnswers(app, components);
  app.addHook("preClose", async () => streams.stop());
  await app.register(fastifyCookie, { secret: Buffer.from(init.sessionSecret) });
  await limitRates(app, context);
  await describeApi(app, init);
  taskRoutes(app, context, streams);
  ledgerRoutes(app, context);
  networkRoutes(app, context);
  operationsRoutes(app, context);
  authRoutes(app, context);
  peerRoutes(app, context);
  await serveHub(app, init);
  return app;
}

function createContext(
  components: RestComponents,
  init: RestInit,
  limits: RestContext["limits"],
  origins: () => readonly string[],
): RestContext {
  const { network } = init;
  const batches = new BatchLookup(components);
  return {
    components,
    init,
    limits,
    sessions: new Sessions(components, { origins, chainId: network.chainId ?? 1 }),
    batches,
    receiptFiles: new ReceiptFiles({ ...components, batches }, { network, origin: () => origins()[0]! }),
    numbers: new NetworkNumbers(components),
    resultBudget: new DownloadBudget({ total: limits.resultBytes, perAddress: limits.resultBytesPerAddress }),
    exportBudget: new DownloadBudget({ total: limits.exports, perAddress: limits.exportsPerAddress }),
  };
}

/** Gives every response its security headers, and refuses requests of other sites. */
function guardRequests(app: RestApp, origins: () => readonly string[]): void {
  app.addHook("onRequest", async (request, reply) => {
    reply.headers({
      "x-request-id": request.id,
      "x-content-type-options": "nosniff",
      "referrer-policy": "same-origin",
      "x-frame-options": "DENY",
      // The hub's pages bring a policy of their own; this one adds what a page cannot say itself.
      "content-security-policy": "frame-ancestors 'none'",
      "cross-origin-opener-policy": "same-origin-allow-popups",
      ...(request.routeOptions.url?.startsWith("/api/") && { "cache-control": "no-store" }),
    });
    // Internal routes take a bearer token, which browsers never send unasked.
    if (!isInternal(request)) checkSameSite(request, origins());
  });
}

/** Logs and measures every answer. */
function logAnswers(app: RestApp, { metrics }: Pick<RestComponents, "metrics">): void {
  app.addHook("onResponse", async (request, reply) => {
    const { method, routeOptions } = request;
    const status = reply.statusCode;
    // The route's pattern, never the URL: queries may hold what must not be in a log.
    const route = routeOptions.url ?? "unmatched";
    const ms = Math.round(reply.elapsedTime);
    const level = SAFE_METHODS.has(method) || isInternal(request) ? "debug" : "info";
    request.log[level]({ method, route, status, ms }, "request answered");
    // The duration of an event stream says nothing about the server's speed.
    if (!route.endsWith("/events")) metrics.httpSeconds.observe({ method, route, status }, ms / 1000);
  });
}

/** Limits requests by address, those of other coordinators excepted. */
async function limitRates(app: RestApp, { init, limits }: RestContext): Promise<void> {
  const isPeer = peerCheck(init.peerSecret);
  // By route, because one path can be written in many ways. Requests without a route are counted where they are answered.
  app.addHook("onRoute", (route) => {
    if (!COUNTED.test(route.url)) route.config = { ...route.config, rateLimit: false };
  });
  await app.register(fastifyRateLimit, {
    max: limits.requestsPerMinute,
    cache: RATE_LIMIT_CACHE,
    allowList: (request) => isInternal(request) && isPeer(request),
    errorResponseBuilder: (_request, { after }) => new ComputeError("RATE_LIMITED", `try again in ${after}`),
  });
}
