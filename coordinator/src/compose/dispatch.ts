import type { Address } from "@proof-of-compute/proto";
import { DispatchServices, type DispatchServicesComponents } from "../services/dispatch/index.ts";
import type { Settings } from "../settings/table.ts";
import { type Base, closing } from "./part.ts";

/** Fleet, leases, takeover and scheduler. */
export type Dispatch = Pick<DispatchServices, "fleet" | "leases" | "takeover" | "scheduler"> & AsyncDisposable;

export interface DispatchInit {
  readonly settings: Settings;
  /** Stands in every spec; undefined: settlement is off. */
  readonly contract: { readonly chainId: number; readonly address: Address } | undefined;
}

/** Takes up what earlier runs left, and hands out tasks from now on. */
export async function openDispatch(
  base: Base,
  components: Pick<DispatchServicesComponents, "store" | "peers" | "link">,
  { settings, contract }: DispatchInit,
): Promise<Dispatch> {
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
      contract,
    },
  );
  await using opening = new AsyncDisposableStack();
  opening.use(closing(base, "dispatch", () => services.stop()));
  await services.start();
  const parts = opening.move();
  const { fleet, leases, takeover, scheduler } = services;
  return { fleet, leases, takeover, scheduler, [Symbol.asyncDispose]: () => parts.disposeAsync() };
}
