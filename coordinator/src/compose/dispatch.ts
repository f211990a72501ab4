import type { Address } from "@proof-of-compute/proto";
import { DispatchServices, type DispatchServicesComponents } from "../services/dispatch/index.ts";
import type { Settings } from "../settings/table.ts";
import { type Base, closing } from "./part.ts";

/** Milliseconds of reconnect spread for each node, so that 10,000 nodes reconnect over 10 s. */
const SPREAD_PER_NODE_MS = 1;

/** The part that brings tasks to nodes. */
export type DispatchPart = Pick<DispatchServices, "fleet" | "leases" | "takeover" | "sessions" | "scheduler"> &
  AsyncDisposable;

export interface DispatchInit {
  readonly settings: Settings;
  /** Stands in every spec; undefined: settlement is off. */
  readonly contract: { readonly chainId: number; readonly address: Address } | undefined;
}

/** Takes over the tasks of earlier runs, and starts to assign tasks. */
export async function openDispatch(
  base: Base,
  components: Pick<DispatchServicesComponents, "store" | "peers" | "link">,
  { settings, contract }: DispatchInit,
): Promise<DispatchPart> {
  const services = new DispatchServices(
    { ...base, ...components },
    {
      heartbeatMs: settings.HEARTBEAT_INTERVAL,
      leaseMs: settings.LEASE_TIME,
      maxNodes: settings.MAX_NODES,
      maxAttempts: settings.MAX_ATTEMPTS,
      maxQueued: settings.MAX_QUEUED_TASKS,
      maxQueuedPerRequester: settings.MAX_QUEUED_PER_REQUESTER,
      allowSelfTasks: settings.ALLOW_SELF_TASKS,
      reconnectSpreadMs: (nodes) => Math.ceil(settings.RECONNECT_SPREAD + nodes * SPREAD_PER_NODE_MS),
      contract,
    },
  );
  await using opening = new AsyncDisposableStack();
  opening.use(closing(base, "dispatch", () => services.stop()));
  await services.start();
  const parts = opening.move();
  const { fleet, leases, takeover, sessions, scheduler } = services;
  return { fleet, leases, takeover, sessions, scheduler, [Symbol.asyncDispose]: () => parts.disposeAsync() };
}
