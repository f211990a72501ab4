import type { Logger } from "pino";
import { openCluster } from "./compose/cluster.ts";
import { openDispatch } from "./compose/dispatch.ts";
import { drain } from "./compose/drain.ts";
import { openGrpc } from "./compose/grpc.ts";
import { closing, createBase } from "./compose/part.ts";
import { openRest } from "./compose/rest.ts";
import { createIntake, openCheckPool } from "./compose/results.ts";
import { openSettlement } from "./compose/settlement.ts";
import { openRetention, openStorage } from "./compose/storage.ts";
import type { ComputeError } from "./domain/errors.ts";
import { type CoordinatorKinds, KINDS } from "./kinds/index.ts";
import type { Store } from "./ports/store.ts";
import type { Scheduler } from "./services/dispatch/scheduler.ts";
import { peerAddress } from "./settings/addresses.ts";
import { ownerOf } from "./settings/owner.ts";
import type { Settings } from "./settings/table.ts";

/** How long a component may take to close, in addition to DRAIN_TIMEOUT. */
const CLOSE_MS = 10_000;

/** A running coordinator. */
export interface Coordinator {
  /** Bound ports; they differ from the settings if these are 0. */
  readonly grpcPort: number;
  readonly httpPort: number;
  readonly scheduler: Scheduler;
  readonly store: Store;
  /** Resolves when the coordinator cannot continue, because another process has its name or its store is lost. Stop it then. */
  readonly failed: Promise<ComputeError>;
  /** Drains, then closes everything in the reverse order of opening. Safe to repeat. */
  stop(): Promise<void>;
}

/**
 * The composition root: opens the parts one after another. If one cannot be opened, closes the earlier ones and throws its
 * error.
 */
export async function startCoordinator(
  settings: Settings,
  logger: Logger,
  { kinds = KINDS }: { readonly kinds?: CoordinatorKinds } = {},
): Promise<Coordinator> {
  const base = createBase({ logger, kinds, closeMs: settings.DRAIN_TIMEOUT + CLOSE_MS });
  base.metrics.collectProcess();
  const self = ownerOf(settings);
  const address = peerAddress(settings, settings.HTTP_ADDRESS.port);

  await using opening = new AsyncDisposableStack();
  const { store, blobs, lost } = opening.use(await openStorage(base, settings));
  const cluster = opening.use(await openCluster(base, { store }, { self, address, leaseMs: settings.LEASE_TIME }));
  const { peers, link } = cluster;
  const settlement = opening.use(await openSettlement(base, { store, peers }, settings));
  const { contract } = settlement;
  const { pool } = opening.use(openCheckPool(base, settings));
  const dispatch = opening.use(await openDispatch(base, { store, peers, link }, { settings, contract }));
  const intake = createIntake(base, { store, blobs, pool, dispatch, settlement }, settings);
  opening.use(openRetention(base, { store, blobs }, settings));
  const { grpc } = opening.use(await openGrpc(base, { dispatch, intake, blobs }, { settings, contract }));
  const edge = { settings, contract, grpcPort: grpc.port };
  const rest = opening.use(await openRest(base, { store, blobs, cluster, dispatch, settlement }, edge));
  opening.use(closing(base, "drain", () => drain(base, { dispatch, grpc, intake }, settings)));

  const opened = opening.move();
  let stopping: Promise<void> | undefined;
  return {
    grpcPort: grpc.port,
    httpPort: rest.port,
    scheduler: dispatch.scheduler,
    store,
    failed: Promise.race([peers.replaced, lost]),
    stop: () => {
      stopping ??= opened.disposeAsync();
      return stopping;
    },
  };
}
