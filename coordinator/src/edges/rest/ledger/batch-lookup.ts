import { acceptedReceipt, type Task } from "../../../domain/task.ts";
import type { Clock } from "../../../ports/clock.ts";
import type { RestStore } from "../components.ts";
import { ExpiringMap } from "../limits/expiring-map.ts";
import type { BatchProgress } from "./views.ts";

/** A recorded batch changes only when a local chain is wiped while the coordinator runs; the change shows after this time. */
const RECORDED_TTL_MS = 30_000;
const RECORDED_CAPACITY = 4096;

/**
 * The progress of batches. The store reads a batch with all its receipt ids, up to 50,000, and a list or a hundred event
 * streams may need the state of the same batch: they share one read, and recorded batches are cached.
 */
export class BatchLookup {
  readonly #store: Pick<RestStore, "batch" | "receipt">;
  readonly #recorded: ExpiringMap<BatchProgress>;
  readonly #reading = new Map<number, Promise<BatchProgress | undefined>>();

  constructor({ store, clock }: { readonly store: Pick<RestStore, "batch" | "receipt">; readonly clock: Clock }) {
    this.#store = store;
    this.#recorded = new ExpiringMap({ clock }, { ttlMs: RECORDED_TTL_MS, capacity: RECORDED_CAPACITY });
  }

  /** The batch that carries the task's receipt, if one does. */
  async ofTask(task: Task): Promise<BatchProgress | undefined> {
    const receipt = acceptedReceipt(task);
    if (!receipt) return undefined;
    // The task's copy of the receipt was made before the receipt was batched.
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
