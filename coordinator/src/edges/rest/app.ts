import { randomUUID } from "node:crypto";
import type { IncomingMessage, ServerResponse } from "node:http";
import { isIPv6 } from "node:net";
import fastifyCookie from "@fastify/cookie";
import fastifyRateLimit from "@fastify/rate-limit";
import {
  type FastifyBaseLogger,
  type FastifyInstance,
  type FastifyRequest,
  fastify,
  LogController,
  type RawServerDefault,
} from "fastify";
import { serializerCompiler, validatorCompiler, type ZodTypeProvider } from "fastify-type-provider-zod";
import { ComputeError, type ErrorCode } from "../../domain/errors.ts";
import { authRoutes } from "./auth/routes.ts";
import { Sessions } from "./auth/sessions.ts";
import { REST_LIMITS, type RestComponents, type RestInit } from "./components.ts";
import { type RestApp, type RestContext, renderTask } from "./context.ts";
import { serveHub } from "./hub.ts";
import { BatchLookup } from "./ledger/batch-lookup.ts";
import { ReceiptFiles } from "./ledger/receipt-files.ts";
import { ledgerRoutes } from "./ledger/routes.ts";
import { DownloadBudget } from "./limits/download-budget.ts";
import { NetworkNumbers } from "./network/numbers.ts";
import { networkRoutes } from "./network/routes.ts";
import { describeApi } from "./openapi.ts";
import { operationsRoutes } from "./operations/routes.ts";
import { isInternal, peerCheck, peerRoutes } from "./peers/routes.ts";
import { PROBLEM_JSON, problem, sendProblem } from "./problems.ts";
import { taskRoutes } from "./tasks/routes.ts";
import { TaskStreams } from "./tasks/streams.ts";

/** Addresses of one proxy or client kept by the rate limits. */
const RATE_LIMIT_CACHE = 10_000;
/** Routes that the rate limits are for; the others are files of the hub and what probes ask. */
const COUNTED = /^\/(api|internal)\//;
const SAFE_METHODS = new Set(["GET", "HEAD", "OPTIONS"]);
/** Hosts to listen on that a browser on this machine reaches by any of its local names. */
const LOCAL = new Set(["127.0.0.1", "::1", "localhost", "0.0.0.0", "::"]);

/** Fastify's own `true` believes the first address of all, which is the client's text where proxies append theirs. */
function trustOf(proxies: RestInit["trustProxy"]): string[] | ((address: string, hop: number) => boolean) {
  return typeof proxies === "number" ? (_address, hop) => hop < proxies : [...proxies];
}

/** Origins of the address that it listens on, for when none were given. */
function listeningOrigins(app: FastifyInstance, { host, port }: RestInit["address"]): readonly string[] {
  const listening = app.server.address();
  const bound = listening !== null && typeof listening === "object" ? listening.port : port;
  const hosts = LOCAL.has(host) ? ["127.0.0.1", "localhost", "[::1]"] : [isIPv6(host) ? `[${host}]` : host];
  return hosts.map((name) => new URL(`http://${name}:${bound}`).origin);
}

/**
 * Refuses what a page of another site makes a browser send. Browsers say where a request comes from in Origin or
 * Sec-Fetch-Site with every unsafe method; what has neither is no browser and carries no cookie unasked.
 */
function checkSameSite(request: FastifyRequest, origins: readonly string[]): void {
  if (SAFE_METHODS.has(request.method)) return;
  const { origin, "sec-fetch-site": site } = request.headers;
  const own =
    origin === undefined ? site === undefined || site === "same-origin" || site === "none" : origins.includes(origin);
  if (!own)
    throw new ComputeError("CROSS_SITE", `the request comes from ${origin ?? site}, this is ${origins.join(" or ")}`);
}

/** What never became a request, by the code of the error that HTTP's parser or its clock gave. */
const UNREADABLE: Readonly<Record<string, readonly [number, string, ErrorCode, string]>> = {
  HPE_HEADER_OVERFLOW: [
    431,
    "Request Header Fields Too Large",
    "TOO_LARGE",
    "the request line and headers are larger than the limit",
  ],
  ERR_HTTP_REQUEST_TIMEOUT: [
    408,
    "Request Timeout",
    "INVALID_REQUEST",
    "the request took too long to come; send it again",
  ],
};

/** Its answer on the socket, as HTTP's parser left it. */
function answerUnreadable(code: string | undefined, requestId: string): string {
  const [status, reason, name, detail] = UNREADABLE[code ?? ""] ?? [
    400,
    "Bad Request",
    "INVALID_REQUEST",
    "the request is not HTTP",
  ];
  const body = JSON.stringify({ ...problem(name, detail, requestId), status });
  const headers = [`content-type: ${PROBLEM_JSON}`, `content-length: ${Buffer.byteLength(body)}`, "connection: close"];
  return `HTTP/1.1 ${status} ${reason}\r\n${headers.join("\r\n")}\r\n\r\n${body}`;
}

/**
 * The REST facade: API, OpenAPI page and hub on one origin. Listen with `app.listen(init.address)`; `app.close()` ends
 * event streams and waits for the requests that are being answered.
 */
export async function createRest(components: RestComponents, init: RestInit): Promise<RestApp> {
  const limits = { ...REST_LIMITS, ...init.limits };
  const app: RestApp = fastify<RawServerDefault, IncomingMessage, ServerResponse, FastifyBaseLogger>({
    loggerInstance: components.logger,
    // Requests are logged once, when they were answered, by a hook below.
    logController: new LogController({ disableRequestLogging: true, requestIdLogLabel: "requestId" }),
    trustProxy: trustOf(init.trustProxy),
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
      components.logger.info({ requestId, code }, "a request could not be read");
      if (socket.writable) socket.end(answerUnreadable(code, requestId));
      else socket.destroy();
    },
  }).withTypeProvider<ZodTypeProvider>();

  app.setValidatorCompiler(validatorCompiler);
  app.setSerializerCompiler(serializerCompiler);
  app.setErrorHandler((error, request, reply) => sendProblem(error, request, reply));
  app.removeContentTypeParser("text/plain");

  const publicOrigins = init.publicOrigins.map((origin) => new URL(origin).origin);
  const origins = () => (publicOrigins.length > 0 ? publicOrigins : listeningOrigins(app, init.address));
  const sessions = new Sessions(components, { origins, chainId: init.network.chainId ?? 1 });
  const isPeer = peerCheck(init.peerSecret);
  const batches = new BatchLookup(components);
  const receiptFiles = new ReceiptFiles(
    { ...components, batches },
    { network: init.network, origin: () => origins()[0]! },
  );
  const context: RestContext = {
    components,
    init,
    limits,
    sessions,
    batches,
    receiptFiles,
    numbers: new NetworkNumbers(components),
    resultBudget: new DownloadBudget({ total: limits.resultBytes, perAddress: limits.resultBytesPerAddress }),
    exportBudget: new DownloadBudget({ total: limits.exports, perAddress: limits.exportsPerAddress }),
  };
  const streams = new TaskStreams({ ...components, sessions, render: (task) => renderTask(context, task) }, limits);

  app.addHook("onRequest", async (request, reply) => {
    reply.headers({
      "x-request-id": request.id,
      "x-content-type-options": "nosniff",
      "referrer-policy": "same-origin",
      "x-frame-options": "DENY",
      // The hub brings its own policy in its pages; this one only adds what a page cannot say itself.
      "content-security-policy": "frame-ancestors 'none'",
      "cross-origin-opener-policy": "same-origin-allow-popups",
      ...(request.routeOptions.url?.startsWith("/api/") && { "cache-control": "no-store" }),
    });
    // What goes by a token is nothing that a browser sends unasked.
    if (!isInternal(request)) checkSameSite(request, origins());
  });
  app.addHook("onResponse", async (request, reply) => {
    const { method, routeOptions } = request;
    const status = reply.statusCode;
    // The route's pattern, never the URL: queries may carry what nobody should read in a log.
    const route = routeOptions.url ?? "unmatched";
    const ms = Math.round(reply.elapsedTime);
    const level = SAFE_METHODS.has(method) || isInternal(request) ? "debug" : "info";
    request.log[level]({ method, route, status, ms }, "request answered");
    // How long a stream stayed open says nothing about how fast the server is.
    if (!route.endsWith("/events")) components.metrics.httpSeconds.observe({ method, route, status }, ms / 1000);
  });
  app.addHook("preClose", async () => streams.stop());

  await app.register(fastifyCookie, { secret: Buffer.from(init.sessionSecret) });
  // By route, because a path can be written in many ways; what has none counts where it is answered.
  app.addHook("onRoute", (route) => {
    if (!COUNTED.test(route.url)) route.config = { ...route.config, rateLimit: false };
  });
  await app.register(fastifyRateLimit, {
    max: limits.requestsPerMinute,
    cache: RATE_LIMIT_CACHE,
    allowList: (request) => isInternal(request) && isPeer(request),
    errorResponseBuilder: (_request, { after }) => new ComputeError("RATE_LIMITED", `try again in ${after}`),
  });
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
