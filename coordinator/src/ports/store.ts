import type { TaskState } from "../domain/task.ts";
import type { BatchStore } from "./batches.ts";
import type { ClusterStore } from "./cluster.ts";
import type { NodeStore } from "./nodes.ts";
import type { ReceiptStore, Unbatched } from "./receipts.ts";
import type { TaskStore } from "./tasks.ts";

/** Counts and sums over the store. Slow. */
export interface StoreTotals {
  readonly tasks: Readonly<Record<TaskState, number>>;
  readonly receipts: number;
  readonly unbatched: Unbatched;
  readonly quarantined: { readonly count: number; readonly units: bigint };
  readonly units: { readonly verified: bigint; readonly recorded: bigint };
}

/**
 * Everything that must outlive a coordinator, shared by all coordinators of a network. Each method is atomic, and its
 * promise resolves once the change is durable; calls of one event-loop turn are committed together, in order. A read sees
 * every write that has resolved, at this or another coordinator. While the store is unavailable (not started, stopped,
 * disk full, connection lost), methods reject with UNAVAILABLE, and each write has happened as a whole or not at all.
 */
export interface Store extends TaskStore, NodeStore, ReceiptStore, BatchStore, ClusterStore {
  /**
   * Opens the store. Safe to repeat. Rejects with UNAVAILABLE and the reason when another coordinator has an embedded
   * store open.
   */
  start(): Promise<void>;
  /** Commits pending calls, then closes the store. Safe to repeat. */
  stop(): Promise<void>;

  totals(): Promise<StoreTotals>;
}
