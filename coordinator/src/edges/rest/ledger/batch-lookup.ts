import { acceptedReceipt, type Task } from "../../../domain/task.ts";
import type { Clock } from "../../../ports/clock.ts";
import type { RestStore } from "../components.ts";
import { ExpiringMap } from "../limits/expiring-map.ts";
import type { BatchProgress } from "./views.ts";

/** A recorded batch changes only when a local chain is wiped under a running coordinator; then this soon shows. */
const RECORDED_TTL_MS = 30_000;
const RECORDED_CAPACITY = 4096;

/**
 * How far batches have come. The store reads a batch with all its receipt ids, up to 50,000, while a list or a hundred
 * event streams ask for the state of the same one: they share one read, and recorded batches are remembered.
 */
export class BatchLookup {
  readonly #store: Pick<RestStore, "batch" | "receipt">;
  readonly #recorded: ExpiringMap<BatchProgress>;
  readonly #reading = new Map<number, Promise<BatchProgress | undefined>>();

  constructor({ store, clock }: { readonly store: Pick<RestStore, "batch" | "receipt">; readonly clock: Clock }) {
    this.#store = store;
    this.#recorded = new ExpiringMap({ clock }, { ttlMs: RECORDED_TTL_MS, capacity: RECORDED_CAPACITY });
  }

  /** The batch that carries the task's receipt, once there is one. */
  async ofTask(task: Task): Promise<BatchProgress | undefined> {
    const receipt = acceptedReceipt(task);
    if (!receipt) return undefined;
    // The task's own copy of the receipt is from before it was batched.
    const batchId = receipt.batchId ?? (await this.#store.receipt(receipt.receiptId))?.batchId;
    return batchId === undefined ? undefined : this.progress(batchId);
  }

  /** State, transaction and block of a batch. */
  progress(batchId: number): Promise<BatchProgress | undefined> {
    const known = this.#recorded.get(String(batchId));
    if (known) return Promise.resolve(known);
    const reading = this.#reading.get(batchId) ?? this.#read(batchId);
    this.#reading.set(batchId, reading);
    return reading;
  }

  async #read(batchId: number): Promise<BatchProgress | undefined> {
    try {
      const batch = await this.#store.batch(batchId);
      if (!batch) return undefined;
      const { receiptIds: _, credits: __, ...progress } = batch;
      if (batch.state === "recorded") this.#recorded.set(String(batchId), progress);
      return progress;
    } finally {
      this.#reading.delete(batchId);
    }
  }
}
