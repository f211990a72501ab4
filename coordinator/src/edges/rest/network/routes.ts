import { toXdcAddress } from "@proof-of-compute/proto";
import { MATMUL_LIMITS, matmulUnits } from "@proof-of-compute/proto/kinds/matmul";
import type { FastifyRequest } from "fastify";
import { ComputeError, ERRORS, type ErrorCode } from "../../../domain/errors.ts";
import { isSameOwner } from "../../../domain/owner.ts";
import type { Store } from "../../../ports/store.ts";
import { hasBearer } from "../auth/bearer.ts";
import { PROBLEMS, type RestApp, type RestContext } from "../context.ts";
import { readWallet, STATUS } from "../problems.ts";
import {
  ConfigView,
  HealthView,
  MetricsText,
  NetworkView,
  NodePage,
  NodeStatusQuery,
  NodeStatusView,
  NodesQuery,
  PRESETS,
  ProblemParams,
  ProblemText,
  ReadinessView,
  SHOWCASE,
} from "../schemas.ts";
import { nodeView, settlementView } from "../views.ts";
import { Cached } from "./cached.ts";

/** To count the network costs the store something; who asks within so many milliseconds shares the answer. */
const COUNTS_MS = 2_000;
/** Online nodes whose pace stands for all; ids are public keys, so the first ones are as good as drawn. */
const PACE_SAMPLE = 100;

function isLoopback(address: string | undefined): boolean {
  return address === "::1" || /^(::ffff:)?127\./.test(address ?? "");
}

/** Whether the request was made on this machine, not passed on by a proxy on it. */
function isLocal(request: FastifyRequest): boolean {
  const { headers, socket } = request;
  const forwarded = headers["x-forwarded-for"] !== undefined || headers.forwarded !== undefined;
  return !forwarded && isLoopback(socket.remoteAddress);
}

/** The median of what a slot of an online node computes in a second, as the nodes say; null when none does. */
async function readPace(store: Pick<Store, "nodes">): Promise<number | null> {
  const { items } = await store.nodes({ status: "online", limit: PACE_SAMPLE });
  const rates = items.flatMap(({ unitsPerSecond }) => unitsPerSecond ?? []).sort((a, b) => a - b);
  return rates[rates.length >> 1] ?? null;
}

/** Who computes, how it goes, and what a client needs to know: all public. */
export function networkRoutes(app: RestApp, context: RestContext): void {
  const { components, init, sessions } = context;
  const { store, presence, peers, settlement, metrics } = components;
  const { network } = init;
  const shared = <T>(read: () => Promise<T>) => new Cached(components, { ttlMs: COUNTS_MS, read });
  const nodeCounts = shared(() => store.nodeCounts());
  const totals = shared(() => store.totals());
  const pace = shared(() => readPace(store));
  const coordinators = shared(() => store.coordinators());

  app.get(
    "/api/node/status",
    {
      schema: {
        summary: "The nodes of a wallet: online or not, when last seen, what they run",
        tags: ["nodes"],
        querystring: NodeStatusQuery,
        response: { 200: NodeStatusView, ...PROBLEMS },
      },
    },
    async (request) => {
      const { wallet: text, limit, cursor } = request.query;
      const wallet = text === undefined ? sessions.require(request).wallet : readWallet(text);
      const page = await store.nodes({ wallet, limit, ...(cursor !== undefined && { cursor }) });
      return {
        wallet,
        xdcWallet: toXdcAddress(wallet),
        nodes: page.items.map((node) => nodeView(node, presence)),
        ...(page.cursor !== undefined && { cursor: page.cursor }),
      };
    },
  );

  app.get(
    "/api/nodes",
    {
      schema: {
        summary: "Nodes of the network",
        tags: ["nodes"],
        querystring: NodesQuery,
        response: { 200: NodePage, ...PROBLEMS },
      },
    },
    async (request) => {
      const { limit, cursor, wallet, status } = request.query;
      const page = await store.nodes({
        limit,
        ...(cursor !== undefined && { cursor }),
        ...(wallet !== undefined && { wallet: readWallet(wallet) }),
        ...(status !== undefined && { status }),
      });
      const items = page.items.map((node) => nodeView(node, presence));
      return { items, ...(page.cursor !== undefined && { cursor: page.cursor }) };
    },
  );

  app.get(
    "/api/network",
    {
      schema: {
        summary: "The network in numbers",
        description: "Counted at most every two seconds, whichever coordinator answers.",
        tags: ["network"],
        response: { 200: NetworkView, ...PROBLEMS },
      },
    },
    async () => {
      const [{ online, suspect }, { tasks, receipts, unbatched, units }, unitsPerSecond, known] = await Promise.all([
        nodeCounts.get(),
        totals.get(),
        pace.get(),
        coordinators.get(),
      ]);
      return {
        nodes: { online, suspect },
        unitsPerSecond,
        queue: { queued: tasks.queued, running: tasks.running + tasks.cancelling },
        coordinators: known
          .filter((coordinator) => peers.isAlive(coordinator))
          .map((coordinator) => ({
            id: coordinator.coordinatorId,
            version: coordinator.version,
            startedAt: coordinator.startedAt,
            ...(isSameOwner(coordinator, peers.self) && { self: true as const }),
          })),
        tasks: { ...tasks },
        receipts,
        unbatchedReceipts: unbatched.count,
        units: { verified: units.verified.toString(), recorded: units.recorded.toString() },
        settlement: settlementView(settlement.status()),
      };
    },
  );

  const config: ConfigView = {
    network: network.name,
    chainId: network.chainId ?? null,
    rpcUrl: network.rpcUrl ?? null,
    contractAddress: network.contractAddress ?? null,
    explorerUrl: network.explorerUrl ?? null,
    grpcAddress: init.grpcAddress,
    version: init.version,
    localWallet: init.localWallet ?? false,
    signIn: { chainId: sessions.chainId },
    kinds: [
      {
        kind: "matmul",
        n: { min: MATMUL_LIMITS.nMin, max: MATMUL_LIMITS.nMax, step: MATMUL_LIMITS.nStep },
        k: { min: MATMUL_LIMITS.kMin, max: MATMUL_LIMITS.kMax },
        presets: PRESETS.map(({ name, n, k }) => ({
          name,
          n,
          k,
          units: matmulUnits(n, k).toString(),
          default: n === SHOWCASE.n && k === SHOWCASE.k,
        })),
      },
    ],
  };
  app.get(
    "/api/config",
    {
      schema: {
        summary: "What a client needs to know of this network",
        tags: ["network"],
        response: { 200: ConfigView, ...PROBLEMS },
      },
    },
    async () => config,
  );

  app.get(
    "/healthz",
    { schema: { summary: "The process answers", tags: ["operations"], response: { 200: HealthView } } },
    async () => ({ status: "ok" as const, version: init.version }),
  );

  app.get(
    "/readyz",
    {
      schema: {
        summary: "Whether it can take work",
        description: "Ready without settlement too: receipts then accumulate until a chain is configured.",
        tags: ["operations"],
        response: { 200: ReadinessView, 503: ReadinessView },
      },
    },
    async (_request, reply) => {
      const obstacles: string[] = [];
      if (components.draining?.()) obstacles.push("the coordinator is shutting down");
      await nodeCounts.get().catch(() => obstacles.push("the store is away"));
      const status = settlementView(settlement.status());
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

  app.get(
    "/metrics",
    {
      schema: {
        summary: "Metrics for Prometheus; from this machine, or with METRICS_TOKEN as bearer token",
        tags: ["operations"],
        response: { 200: MetricsText, ...PROBLEMS },
      },
    },
    async (request, reply) => {
      if (!isLocal(request) && !hasBearer(request, init.metricsToken)) {
        throw new ComputeError("FORBIDDEN", "metrics are for this machine, or with METRICS_TOKEN as bearer token");
      }
      const { contentType, body } = await metrics.render();
      return reply.type(contentType).send(body);
    },
  );

  app.get(
    "/problems/:code",
    {
      schema: {
        summary: "What the code of a problem document means",
        tags: ["operations"],
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
