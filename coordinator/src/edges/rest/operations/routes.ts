import type { FastifyRequest } from "fastify";
import { ComputeError, ERRORS, type ErrorCode } from "../../../domain/errors.ts";
import { hasBearer } from "../auth/bearer.ts";
import { PROBLEMS, type RestApp, type RestContext } from "../context.ts";
import { settlementView } from "../network/views.ts";
import { STATUS } from "../problems.ts";
import { HealthView, MetricsText, ProblemParams, ProblemText, ReadinessView } from "./schemas.ts";

const TAGS = ["operations"];

/** For those who run a coordinator: probes, metrics, and what the codes of problems mean. */
export function operationsRoutes(app: RestApp, context: RestContext): void {
  probeRoutes(app, context);
  metricsRoutes(app, context);
  problemRoutes(app);
}

function probeRoutes(app: RestApp, { components, init, numbers }: RestContext): void {
  app.get(
    "/healthz",
    { schema: { summary: "The process answers", tags: TAGS, response: { 200: HealthView } } },
    async () => ({ status: "ok" as const, version: init.version }),
  );

  app.get(
    "/readyz",
    {
      schema: {
        summary: "Whether it can take work",
        description: "Ready without settlement too: receipts then accumulate until a chain is configured.",
        tags: TAGS,
        response: { 200: ReadinessView, 503: ReadinessView },
      },
    },
    async (_request, reply) => {
      const obstacles: string[] = [];
      if (components.draining?.()) obstacles.push("the coordinator is shutting down");
      await numbers.nodeCounts().catch(() => obstacles.push("the store is away"));
      const status = settlementView(components.settlement.status());
      const without = status.reason ?? "no chain is configured, receipts accumulate";
      const works = status.state === "running" || status.state === "standby";
      const limited = works ? [] : [`settlement is ${status.state}: ${without}`];
      const ready = obstacles.length === 0;
      return reply
        .code(ready ? 200 : 503)
        .header("cache-control", "no-store")
        .send({ ready, reasons: [...obstacles, ...limited], settlement: status });
    },
  );
}

function isLoopback(address: string | undefined): boolean {
  return address === "::1" || /^(::ffff:)?127\./.test(address ?? "");
}

/** Whether the request was made on this machine, not passed on by a proxy on it. */
function isLocal({ headers, socket }: FastifyRequest): boolean {
  const forwarded = headers["x-forwarded-for"] !== undefined || headers.forwarded !== undefined;
  return !forwarded && isLoopback(socket.remoteAddress);
}

function metricsRoutes(app: RestApp, { components, init }: RestContext): void {
  app.get(
    "/metrics",
    {
      schema: {
        summary: "Metrics for Prometheus; from this machine, or with METRICS_TOKEN as bearer token",
        tags: TAGS,
        response: { 200: MetricsText, ...PROBLEMS },
      },
    },
    async (request, reply) => {
      if (!isLocal(request) && !hasBearer(request, init.metricsToken)) {
        throw new ComputeError("FORBIDDEN", "metrics are for this machine, or with METRICS_TOKEN as bearer token");
      }
      const { contentType, body } = await components.metrics.render();
      return reply.type(contentType).send(body);
    },
  );
}

function problemRoutes(app: RestApp): void {
  app.get(
    "/problems/:code",
    {
      schema: {
        summary: "What the code of a problem document means",
        tags: TAGS,
        params: ProblemParams,
        response: { 200: ProblemText, ...PROBLEMS },
      },
    },
    async (request, reply) => {
      const { code } = request.params;
      if (!Object.hasOwn(ERRORS, code)) throw new ComputeError("NOT_FOUND", "there is no such code");
      const known = code as ErrorCode;
      return reply.type("text/plain; charset=utf-8").send(`${known} (HTTP ${STATUS[known]}): ${ERRORS[known]}\n`);
    },
  );
}
