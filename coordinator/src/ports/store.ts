import type { TaskState } from "../domain/task.ts";
import type { BatchStore } from "./batches.ts";
import type { ClusterStore } from "./cluster.ts";
import type { NodeStore } from "./nodes.ts";
import type { ReceiptStore, Unbatched } from "./receipts.ts";
import type { TaskStore } from "./tasks.ts";

/** What the store holds, in numbers. To count it may take a while. */
export interface StoreTotals {
  readonly tasks: Readonly<Record<TaskState, number>>;
  readonly receipts: number;
  readonly unbatched: Unbatched;
  readonly quarantined: { readonly count: number; readonly units: bigint };
  readonly units: { readonly verified: bigint; readonly recorded: bigint };
}

/**
 * Everything that must outlive a coordinator, shared by all of a network. Each method is atomic, and its promise resolves
 * only when the change is durable; calls of one event-loop turn are committed together, in their order. A read sees every
 * write whose promise has resolved, here or at another coordinator. When the store is away (not started, stopped, disk
 * full, connection lost), methods reject with UNAVAILABLE and have changed nothing, or changed it wholly.
 */
export interface Store extends TaskStore, NodeStore, ReceiptStore, BatchStore, ClusterStore {
  /** Opens it. Safe to repeat. Rejects with UNAVAILABLE, saying why, when another coordinator holds an embedded store. */
  start(): Promise<void>;
  /** Commits what waits, then closes. Safe to repeat. */
  stop(): Promise<void>;

  totals(): Promise<StoreTotals>;
}
