import { randomBytes } from "node:crypto";
import { hostname } from "node:os";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { networkByChainId, toHex } from "@proof-of-compute/proto";
import type { Logger } from "pino";
import { EthersChain } from "./adapters/ethers-chain.ts";
import { HttpPeers } from "./adapters/http-peers.ts";
import { systemClock } from "./adapters/system-clock.ts";
import { openStore } from "./compose/open-store.ts";
import type { Batch } from "./domain/batch.ts";
import type { ComputeError } from "./domain/errors.ts";
import type { Owner } from "./domain/owner.ts";
import { GrpcServer } from "./edges/grpc/server.ts";
import { cannotListen } from "./edges/listen.ts";
import { createRest } from "./edges/rest/app.ts";
import { KINDS } from "./kinds/index.ts";
import { hostPort, isAnywhere, localForms } from "./net/host-port.ts";
import type { Store } from "./ports/store.ts";
import { Peers } from "./services/cluster/peers.ts";
import { DispatchServices } from "./services/dispatch/index.ts";
import type { Scheduler } from "./services/dispatch/scheduler.ts";
import { Metrics } from "./services/metrics.ts";
import { WorkerCheckPool } from "./services/results/check-pool.ts";
import { ResultIntake } from "./services/results/intake.ts";
import { UploadBudget } from "./services/results/uploads.ts";
import { Retention } from "./services/retention.ts";
import { Settlement } from "./services/settlement/settlement.ts";
import { ReceiptTrees } from "./services/settlement/trees/pool.ts";
import { TaskEvents } from "./services/watch/task-events.ts";
import { TaskWatch } from "./services/watch/task-watch.ts";
import { publicGrpcAddress, publicRpcUrl } from "./settings/public-addresses.ts";
import { readRecorderKey } from "./settings/recorder-key.ts";
import type { Settings } from "./settings/table.ts";
import { readTlsFiles } from "./settings/tls-files.ts";
import { VERSION } from "./version.ts";

/** Milliseconds of reconnect spread that each node adds, so that 10,000 come back over 10 s. */
const SPREAD_PER_NODE_MS = 1;

/** How long a part may take to close, beyond the time for draining. */
const CLOSE_MS = 10_000;

/** A running coordinator. */
export interface Coordinator {
  /** Bound ports; they differ from the settings where those say 0. */
  readonly grpcPort: number;
  readonly httpPort: number;
  readonly scheduler: Scheduler;
  readonly store: Store;
  /** Resolves when it cannot go on, because another process has its name or its store is lost; then it is to be stopped. */
  readonly failed: Promise<ComputeError>;
  /** Drains, then closes everything in the reverse order of opening. Safe to repeat. */
  stop(): Promise<void>;
}

/**
 * The composition root: settings → adapters → services → edges. When something fails half-way, what was opened is
 * closed again and the error goes on.
 */
export async function startCoordinator(settings: Settings, logger: Logger): Promise<Coordinator> {
  const closing: (() => Promise<void> | void)[] = [];
  let stopping: Promise<void> | undefined;
  const close = async () => {
    for (const step of closing.splice(0).reverse()) {
      // A part that hangs must not keep the others from closing, nor the process from ending.
      const limit = new AbortController();
      const late = sleep(settings.DRAIN_TIMEOUT + CLOSE_MS, undefined, { signal: limit.signal }).then(() => {
        throw new Error("it took too long");
      });
      await Promise.race([Promise.resolve().then(step), late])
        .catch((error: unknown) => logger.error({ err: error }, "a part did not close"))
        .finally(() => limit.abort());
    }
  };
  try {
    return await open();
  } catch (error) {
    await close();
    throw error;
  }

  async function open(): Promise<Coordinator> {
    const clock = systemClock;
    const random = Math.random;
    const metrics = new Metrics();
    metrics.collectProcess();
    const events = new TaskEvents();
    const { HEARTBEAT_INTERVAL: heartbeatMs, LEASE_TIME: leaseMs } = settings;
    const self = ownerOf(settings);

    const opened = await openStore(settings, logger);
    closing.push(() => opened.stop());
    const { store, blobs } = opened;
    const peerSecret = await store.secret("peers");
    const link = new HttpPeers({ logger }, { secret: peerSecret });
    closing.push(() => link.stop());
    const peers = new Peers(
      { store, clock, logger, metrics, random },
      { self, version: VERSION, startedAt: clock.now(), leaseMs },
    );
    await peers.start(peerAddress(settings, settings.HTTP_ADDRESS.port));
    closing.push(() => peers.stop());

    const settlement = await openSettlement();
    const settlementStatus = () => settlement?.service.status() ?? ({ state: "off", openBatches: 0 } as const);
    metrics.follow(settlementStatus);
    const contract = settlement && { chainId: settlement.chain.chainId, address: settlement.chain.contract };

    const pool = new WorkerCheckPool({ threads: settings.VERIFIER_THREADS });
    closing.push(() => pool.stop());
    const dispatch = new DispatchServices(
      { store, kinds: KINDS, events, peers, link, clock, logger, metrics, random },
      {
        heartbeatMs,
        leaseMs,
        maxNodes: settings.MAX_NODES,
        maxAttempts: settings.MAX_ATTEMPTS,
        maxQueued: settings.MAX_QUEUED_TASKS,
        maxQueuedPerRequester: settings.MAX_QUEUED_PER_REQUESTER,
        allowSelfTasks: settings.ALLOW_SELF_TASKS,
        contract,
      },
    );
    closing.push(() => dispatch.stop());
    await dispatch.start();
    const { fleet, leases, takeover, scheduler } = dispatch;
    const intake = new ResultIntake({
      leases,
      kinds: KINDS,
      pool,
      store,
      blobs,
      clock,
      logger,
      metrics,
      accepted: () => settlement?.service.nudge(),
    });

    const retention = new Retention(
      { store, blobs, clock, logger, random },
      { retentionMs: settings.RESULT_RETENTION, taskRetentionMs: settings.TASK_RETENTION },
    );
    retention.start();
    closing.push(() => retention.stop());

    const uploads = new UploadBudget({ clock }, { maxBytes: settings.UPLOAD_MAX_BYTES });
    const reconnectSpreadMs = (nodes: number) => Math.ceil(settings.RECONNECT_SPREAD + nodes * SPREAD_PER_NODE_MS);
    const names = settings.GRPC_AUDIENCES ?? [
      ...localForms(settings.GRPC_ADDRESS),
      ...(settings.PUBLIC_GRPC_ADDRESS ? [settings.PUBLIC_GRPC_ADDRESS] : []),
    ];
    const audiences = new Set(names.map((name) => name.toLowerCase()));
    const grpc = new GrpcServer(
      { fleet, leases, takeover, intake, uploads, clock, logger, blobs },
      {
        ...settings.GRPC_ADDRESS,
        tls: await readTlsFiles(settings),
        coordinatorId: self.coordinatorId,
        heartbeatMs,
        leaseMs,
        reconnectSpreadMs,
        // Room for nodes that dial again before their old stream is known to be dead.
        maxStreams: 2 * settings.MAX_NODES,
        audiences,
        contract,
        requireAuthorization: settings.REQUIRE_NODE_AUTHORIZATION,
        nowSeconds: () => Math.floor(clock.now() / 1_000),
      },
    );
    await grpc.start();
    closing.push(() => grpc.stop());
    // With port 0 (tests) the names are known only now.
    if (!settings.GRPC_AUDIENCES) {
      for (const name of localForms({ ...settings.GRPC_ADDRESS, port: grpc.port })) audiences.add(name.toLowerCase());
    }

    let draining = false;
    const watch = new TaskWatch({ store, events, peers, link, clock, logger, random });
    const rest = await openRest();
    watch.start();
    closing.push(() => watch.stop());
    const httpPort = Number(new URL(rest.listeningOrigin).port || 80);
    if (httpPort !== settings.HTTP_ADDRESS.port) await peers.moveTo(peerAddress(settings, httpPort));

    const drain = async () => {
      draining = true;
      logger.info(scheduler.depth(), "draining: no new work, results in flight are still taken");
      scheduler.drain();
      grpc.drain();
      const { online, suspect } = fleet.counts();
      for (const node of fleet.online()) node.link?.reconnect(reconnectSpreadMs(online + suspect), "draining");
      const until = clock.monotonic() + settings.DRAIN_TIMEOUT;
      while (scheduler.depth().running > 0 && fleet.counts().online > 0 && clock.monotonic() < until) {
        await new Promise((resolve) => setTimeout(resolve, 50));
      }
      await intake.drain(Math.max(0, until - clock.monotonic()));
    };
    closing.push(drain);
    return {
      grpcPort: grpc.port,
      httpPort,
      scheduler,
      store,
      failed: Promise.race([peers.replaced, opened.lost]),
      stop: () => {
        stopping ??= close();
        return stopping;
      },
    };

    async function openSettlement(): Promise<{ service: Settlement; chain: EthersChain } | undefined> {
      if (settings.XDC_RPC_URL === undefined) {
        logger.warn("settlement is off: XDC_RPC_URL is not set; receipts accumulate");
        return undefined;
      }
      const contract = settings.PROOF_OF_COMPUTE_ADDRESS!;
      const init = { rpcUrl: settings.XDC_RPC_URL, contract, recorderKey: await readRecorderKey(settings) };
      const bound = await store.boundTo();
      const chain = await EthersChain.connect({ logger }, init).catch((error: unknown) => {
        // A store that was used with this contract knows its chain: results are taken, and recorded once the RPC is back.
        if (bound?.address !== contract) throw error;
        logger.warn({ err: error, chainId: bound.chainId }, "the chain is away; receipts accumulate until it is back");
        return new EthersChain({ logger }, { ...init, chainId: bound.chainId });
      });
      closing.push(() => chain.stop());
      const trees = new ReceiptTrees();
      closing.push(() => trees.stop());
      const service = new Settlement(
        { store, chain, peers, clock, logger, trees, onChange: told },
        {
          maxReceipts: settings.BATCH_MAX_RECEIPTS,
          maxProviders: settings.BATCH_MAX_PROVIDERS,
          maxWaitMs: settings.BATCH_MAX_WAIT,
          pollMs: settings.CHAIN_POLL_INTERVAL,
          resendMs: settings.BATCH_RESEND_AFTER,
          rebind: settings.REBIND,
        },
      );
      await service.start();
      closing.push(() => service.stop());
      return { service, chain };
    }

    function told(batch: Batch): void {
      metrics.batches.inc({ state: batch.state });
      events.publishAll();
    }

    async function openRest() {
      const publicGrpc = publicGrpcAddress(settings, grpc.port);
      if (publicGrpc.wanted) {
        logger.warn(
          { address: publicGrpc.address },
          "providers are told what they cannot dial: set PUBLIC_GRPC_ADDRESS",
        );
      }
      const chainId = contract?.chainId;
      const network = chainId === undefined ? undefined : networkByChainId(chainId);
      const instance = await createRest(
        {
          store,
          blobs,
          clock,
          logger,
          events,
          scheduler,
          watch,
          peers,
          presence: fleet,
          settlement: { status: settlementStatus },
          metrics,
          draining: () => draining,
        },
        {
          address: settings.HTTP_ADDRESS,
          trustProxy: settings.TRUST_PROXY,
          publicOrigins: settings.PUBLIC_ORIGINS ?? [],
          sessionSecret: Buffer.from(await store.secret("sessions")),
          peerSecret,
          hubDirectory: fileURLToPath(new URL("../../hub/build", import.meta.url)),
          network: {
            name: network?.name ?? (chainId === undefined ? "none" : `chain ${chainId}`),
            chainId,
            rpcUrl: publicRpcUrl(settings, chainId),
            contractAddress: contract?.address,
            explorerUrl: network?.explorerUrl,
          },
          grpcAddress: publicGrpc.address,
          version: VERSION,
          localWallet: network?.name === "local",
          metricsToken: settings.METRICS_TOKEN,
          defaultDeadlineMs: settings.TASK_DEADLINE,
        },
      );
      closing.push(() => instance.close());
      await instance.listen(settings.HTTP_ADDRESS).catch((error: unknown) => {
        throw cannotListen("HTTP_ADDRESS", hostPort(settings.HTTP_ADDRESS), error);
      });
      return instance;
    }
  }
}

/** This run of this coordinator. On SQLite there is one; on MongoDB host and port tell it from others. */
function ownerOf({ COORDINATOR_ID, MONGODB_URI, HTTP_ADDRESS }: Settings): Owner {
  const unique = `${hostname()}-${HTTP_ADDRESS.port}`.replaceAll(/[^\w.-]/g, "-").slice(-64);
  const coordinatorId = COORDINATOR_ID ?? (MONGODB_URI === undefined ? "coordinator-1" : unique);
  return { coordinatorId, incarnation: toHex(randomBytes(16)) };
}

/** Where its peers reach this coordinator. */
function peerAddress({ PEER_ADDRESS, HTTP_ADDRESS }: Settings, port: number): string {
  const host = isAnywhere(HTTP_ADDRESS.host) ? hostname() : HTTP_ADDRESS.host;
  return PEER_ADDRESS ?? `http://${hostPort({ host, port })}`;
}
