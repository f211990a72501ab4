import type { Address, Hex } from "@proof-of-compute/proto";
import type { Logger } from "pino";
import type { Owner } from "../../domain/owner.ts";
import type { Task } from "../../domain/task.ts";
import type { Blobs } from "../../ports/blobs.ts";
import type { Clock } from "../../ports/clock.ts";
import type { Nudge } from "../../ports/peers.ts";
import type { Store } from "../../ports/store.ts";
import type { SettlementStatus } from "../../services/settlement/status.ts";
import type { BatchProofs } from "../../services/settlement/trees/batch-proofs.ts";
import type { TaskEvents } from "../../services/watch/task-events.ts";

/** What the REST facade uses of the coordinator. */
export interface RestComponents {
  readonly store: Store;
  readonly blobs: Blobs;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly events: TaskEvents;
  readonly scheduler: {
    /**
     * Stores a task and, when a node fits, leases it. `deadlineMs` counts from now. With an `id` that is taken nothing
     * is written and the stored task comes back. Throws QUEUE_FULL, DRAINING, UNAVAILABLE.
     */
    submit(request: {
      readonly requester: Address;
      readonly spec: { readonly kind: "matmul"; readonly n: number; readonly k: number };
      readonly deadlineMs: number;
      readonly id?: Hex;
      readonly requestDigest?: Hex;
    }): Promise<{ readonly task: Task; readonly created: boolean }>;
    /** Cancels, or asks the node to stop, wherever the task runs; throws NOT_CANCELLABLE when the task has ended. */
    cancel(taskId: Hex): Promise<Task>;
    /** Why a queued task waits, for people. */
    waitingReason(task: Task): string | undefined;
    /** 0 to 1 of the live assignment, if it runs here. */
    progress(taskId: Hex): number | undefined;
    /** A peer's word arrived. */
    nudged(nudge: Nudge): void;
  };
  readonly watch: {
    /** 0 to 1 of a watched task's live assignment, if it runs at another coordinator. */
    progressOf(taskId: Hex): number | undefined;
  };
  readonly peers: {
    /** This coordinator. */
    readonly self: Owner;
    /** Whether a coordinator lives; true for this one. */
    isAlive(owner: Owner): boolean;
  };
  readonly presence: {
    /** Of a node with an open session here. */
    live(
      nodeId: Hex,
    ):
      | { readonly freeSlots: number; readonly running: number; readonly cap: number; readonly load: number }
      | undefined;
  };
  readonly settlement: { status(): SettlementStatus };
  readonly proofs: Pick<BatchProofs, "proof">;
  readonly metrics: {
    render(): Promise<{ readonly contentType: string; readonly body: string }>;
    readonly httpSeconds: {
      observe(
        labels: { readonly method: string; readonly route: string; readonly status: number },
        seconds: number,
      ): void;
    };
  };
  /** Whether the coordinator is shutting down; readiness says so. */
  readonly draining?: () => boolean;
}

/** The chain that this network records on; each is absent when none is configured. */
export interface RestNetwork {
  /** "local", "apothem", "xdc" or "none". */
  readonly name: string;
  readonly chainId?: number | undefined;
  /** RPC that browsers may use. */
  readonly rpcUrl?: string | undefined;
  readonly contractAddress?: Address | undefined;
  /** Without a slash at the end; has `/tx/0x…` and `/address/0x…`. */
  readonly explorerUrl?: string | undefined;
}

/** Limits of the facade. */
export interface RestLimits {
  /** Requests below /api a minute from one address. */
  readonly requestsPerMinute: number;
  /** Sign-in attempts a minute from one address; each costs milliseconds of elliptic curves. */
  readonly signInsPerMinute: number;
  /** Tasks a minute from one wallet. */
  readonly dispatchesPerMinute: number;
  /** Public results, exports and batches' receipts a minute from one address, of each. */
  readonly downloadsPerMinute: number;
  /** Bytes of results that are being sent at once, altogether and to one address; one has 16 MiB at most. */
  readonly resultBytes: number;
  readonly resultBytesPerAddress: number;
  /** Exports and batches' receipts that are being written at once, altogether and for one address. */
  readonly exports: number;
  readonly exportsPerAddress: number;
  /** Longest body in bytes. */
  readonly bodyBytes: number;
  /** Longest request line and headers in bytes. */
  readonly headerBytes: number;
  /** How long a client may take to send its request, in milliseconds. */
  readonly requestTimeoutMs: number;
  /** After so many milliseconds in which nothing moves, twice that for a reader, a connection is cut off. */
  readonly connectionTimeoutMs: number;
  /** Event streams open at once, altogether and for one wallet. */
  readonly streams: number;
  readonly streamsPerWallet: number;
}

/** What holds unless the configuration says otherwise: room for an eager person, none for a flood. */
export const REST_LIMITS: RestLimits = {
  requestsPerMinute: 1200,
  signInsPerMinute: 60,
  dispatchesPerMinute: 240,
  downloadsPerMinute: 120,
  resultBytes: 256 * 2 ** 20,
  resultBytesPerAddress: 64 * 2 ** 20,
  exports: 16,
  exportsPerAddress: 4,
  bodyBytes: 64 * 1024,
  headerBytes: 16 * 1024,
  requestTimeoutMs: 15_000,
  connectionTimeoutMs: 60_000,
  streams: 2000,
  streamsPerWallet: 16,
};

/** Settings of the facade. */
export interface RestInit {
  /** Where it is going to listen; `createRest` itself does not listen. */
  readonly address: { readonly host: string; readonly port: number };
  /** Proxies whose X-Forwarded-* headers are believed: how many in a row, or their addresses and CIDRs. */
  readonly trustProxy: number | readonly string[];
  /** Origins under which browsers reach the hub; empty: those of `address` (of localhost too when it is loopback). */
  readonly publicOrigins: readonly string[];
  /** At least 32 bytes, the same at every coordinator; signs session cookies, so that all of them take each other's. */
  readonly sessionSecret: Uint8Array;
  /** 32 bytes, the same at every coordinator; shows them to each other. Without it there are no routes between them. */
  readonly peerSecret?: Uint8Array | undefined;
  /** Folder of the built hub. */
  readonly hubDirectory: string;
  readonly network: RestNetwork;
  /** host:port that daemons dial. */
  readonly grpcAddress: string;
  readonly version: string;
  /** Whether browsers may make a throw-away wallet; for the local network only. */
  readonly localWallet?: boolean | undefined;
  /** Lets others than loopback read /metrics, as a bearer token. */
  readonly metricsToken?: string | undefined;
  /** What a task gets whose requester names no deadline, in milliseconds. */
  readonly defaultDeadlineMs: number;
  readonly limits?: Partial<RestLimits> | undefined;
}
