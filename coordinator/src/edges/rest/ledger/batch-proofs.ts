import { setImmediate } from "node:timers/promises";
import type { Address, Hex } from "@proof-of-compute/proto";
import { Piscina } from "piscina";
import { type Batch, leafOf } from "../../../domain/batch.ts";
import { ComputeError } from "../../../domain/errors.ts";
import type { Receipt } from "../../../domain/receipt.ts";
import type { Store } from "../../../ports/store.ts";
import type { ProofStep } from "./batch-proofs.worker.ts";

/** Receipts read from the store, and copied to the worker, at once: a few milliseconds of the event loop. */
const PAGE = 500;
/** Proofs that may wait for the worker before more are refused. */
const MAX_QUEUE = 64;
/** The worker, and the trees that it holds, go after so long without a question. */
const IDLE_MS = 60_000;

/** The receipts of a batch or a wallet, a page at a time, with a turn of the event loop before each. */
export async function* receiptPages(
  store: Pick<Store, "receipts">,
  of: { readonly batchId: number } | { readonly provider: Address },
  limit = PAGE,
): AsyncGenerator<readonly Receipt[]> {
  let cursor: string | undefined;
  do {
    await setImmediate();
    const page = await store.receipts({ ...of, limit, ...(cursor !== undefined && { cursor }) });
    yield page.items;
    cursor = page.cursor;
  } while (cursor !== undefined);
}

/** Merkle proofs of batched receipts. A tree of 50,000 leaves takes seconds of hashing, hence a worker thread. */
export class BatchProofs {
  readonly #store: Pick<Store, "receipts">;
  readonly #pool = new Piscina<ProofStep, Hex[] | null>({
    filename: new URL("./batch-proofs.worker.ts", import.meta.url).href,
    minThreads: 0,
    // One, because it is the one that remembers trees.
    maxThreads: 1,
    idleTimeout: IDLE_MS,
  });
  /** Batches whose receipts are on their way to the worker. */
  readonly #telling = new Map<Hex, Promise<void>>();

  constructor({ store }: { readonly store: Pick<Store, "receipts"> }) {
    this.#store = store;
  }

  /** Siblings from the receipt's leaf to the batch's root. Throws UNAVAILABLE when too many wait. */
  async proof(batch: Pick<Batch, "id" | "root">, receiptId: Hex): Promise<Hex[]> {
    if (this.#pool.queueSize >= MAX_QUEUE) throw new ComputeError("UNAVAILABLE", "too many proofs are being made");
    const { root } = batch;
    const known = this.#telling.has(root) ? null : await this.#pool.run({ root, receiptId });
    if (known) return known;
    const telling = this.#telling.get(root) ?? this.#tell(batch);
    this.#telling.set(root, telling);
    await telling;
    const proof = await this.#pool.run({ root, receiptId });
    // The worker may have gone, or given the tree up for others; rare enough to let the reader ask again.
    if (!proof) throw new ComputeError("UNAVAILABLE", "the proof was not made; ask again");
    return proof;
  }

  async stop(): Promise<void> {
    await this.#pool.destroy();
  }

  async #tell(batch: Pick<Batch, "id" | "root">): Promise<void> {
    try {
      let first = true;
      for await (const page of receiptPages(this.#store, { batchId: batch.id })) {
        await this.#pool.run({ root: batch.root, receipts: page.map(leafOf), first });
        first = false;
      }
    } finally {
      this.#telling.delete(batch.root);
    }
  }
}
