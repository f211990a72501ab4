import type { Address } from "@proof-of-compute/proto";
import type { Logger } from "pino";
import type { CoordinatorKinds } from "../../kinds/index.ts";
import type { BatchStore } from "../../ports/batches.ts";
import type { Blobs } from "../../ports/blobs.ts";
import type { Clock } from "../../ports/clock.ts";
import type { ClusterStore } from "../../ports/cluster.ts";
import type { NodeStore } from "../../ports/nodes.ts";
import type { ReceiptStore } from "../../ports/receipts.ts";
import type { Store } from "../../ports/store.ts";
import type { TaskStore } from "../../ports/tasks.ts";
import type { Peers } from "../../services/cluster/peers.ts";
import type { Scheduler } from "../../services/dispatch/scheduler.ts";
import type { Fleet } from "../../services/fleet/fleet.ts";
import type { Metrics } from "../../services/metrics.ts";
import type { SettlementStatus } from "../../services/settlement/status.ts";
import type { BatchProofs } from "../../services/settlement/trees/batch-proofs.ts";
import type { TaskEvents } from "../../services/watch/task-events.ts";
import type { TaskWatch } from "../../services/watch/task-watch.ts";
import type { RestLimits } from "./limits/limits.ts";

/** What the REST facade reads from the store; services write. */
export type RestStore = Pick<TaskStore, "task" | "tasks" | "output"> &
  Pick<NodeStore, "nodes" | "nodeCounts"> &
  Pick<ReceiptStore, "receipt" | "receipts"> &
  Pick<BatchStore, "batch" | "batches"> &
  Pick<ClusterStore, "coordinators"> &
  Pick<Store, "totals">;

/** What the REST facade uses of the coordinator. */
export interface RestComponents {
  readonly kinds: CoordinatorKinds;
  readonly store: RestStore;
  readonly blobs: Pick<Blobs, "get" | "has">;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly events: TaskEvents;
  readonly scheduler: Pick<Scheduler, "submit" | "cancel" | "waitingReason" | "progress" | "nudged">;
  readonly watch: Pick<TaskWatch, "progressOf">;
  readonly peers: Pick<Peers, "self" | "isAlive">;
  /** Nodes with an open session here. */
  readonly presence: Pick<Fleet, "live">;
  readonly settlement: { status(): SettlementStatus };
  readonly proofs: Pick<BatchProofs, "proof">;
  readonly metrics: Pick<Metrics, "render"> & { readonly httpSeconds: Pick<Metrics["httpSeconds"], "observe"> };
  /** Whether the coordinator is shutting down; readiness says so. */
  readonly draining?: () => boolean;
}

/** The chain that this network records on; without one only the name is present. */
export interface RestNetwork {
  /** "local", "apothem", "xdc" or "none". */
  readonly name: string;
  readonly chainId?: number | undefined;
  /** RPC for browsers. */
  readonly rpcUrl?: string | undefined;
  readonly contractAddress?: Address | undefined;
  /** Without a trailing slash; serves `/tx/0x…` and `/address/0x…`. */
  readonly explorerUrl?: string | undefined;
}

/** Settings of the facade. */
export interface RestInit {
  /** Where the caller is going to listen; `createRest` itself does not. */
  readonly address: { readonly host: string; readonly port: number };
  /** Trusted proxies, whose X-Forwarded-* headers are believed: their number in a row, or their addresses and CIDRs. */
  readonly trustProxy: number | readonly string[];
  /** Origins under which browsers reach the hub. When empty, those of `address`, with localhost when that is loopback. */
  readonly publicOrigins: readonly string[];
  /** At least 32 bytes, the same at every coordinator; signs session cookies, which every coordinator therefore accepts. */
  readonly sessionSecret: Uint8Array;
  /** 32 bytes, the same at every coordinator; authenticates coordinators to each other. Without it there are no internal routes. */
  readonly peerSecret?: Uint8Array | undefined;
  /** Directory of the built hub. */
  readonly hubDirectory: string;
  readonly network: RestNetwork;
  /** host:port that daemons dial. */
  readonly grpcAddress: string;
  readonly version: string;
  /** Whether browsers may create a throw-away wallet; for the local network only. */
  readonly localWallet?: boolean | undefined;
  /** Bearer token with which clients outside loopback may read /metrics. */
  readonly metricsToken?: string | undefined;
  /** Deadline of a task whose request names none, in milliseconds from its submission. */
  readonly defaultDeadlineMs: number;
  readonly limits?: Partial<RestLimits> | undefined;
}
