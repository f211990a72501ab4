import type { Hex } from "@proof-of-compute/proto";
import { Piscina } from "piscina";
import { type Batch, leafOf } from "../../domain/batch.ts";
import { ComputeError } from "../../domain/errors.ts";
import type { Receipt } from "../../domain/receipt.ts";
import type { Store } from "../../ports/store.ts";
import type { ProofRequest } from "./batch-proofs.worker.ts";

/** Receipts read from the store at once. */
const PAGE = 500;
/** Proofs that may wait for the worker before more are refused. */
const MAX_QUEUE = 64;
/** The worker, and the trees that it holds, go after so long without a question. */
const IDLE_MS = 60_000;

/** Every receipt of a batch, in order of their ids, page by page. */
export async function* receiptsOf(store: Pick<Store, "receipts">, batchId: number): AsyncGenerator<Receipt> {
  let cursor: string | undefined;
  do {
    const page = await store.receipts({ batchId, limit: PAGE, ...(cursor !== undefined && { cursor }) });
    yield* page.items;
    cursor = page.cursor;
  } while (cursor !== undefined);
}

/** Merkle proofs of batched receipts. A tree of 50,000 leaves takes a second of hashing, hence a worker thread. */
export class BatchProofs {
  readonly #store: Pick<Store, "receipts">;
  readonly #pool = new Piscina({
    filename: new URL("./batch-proofs.worker.ts", import.meta.url).href,
    minThreads: 0,
    // One, because it is the one that remembers trees.
    maxThreads: 1,
    maxQueue: MAX_QUEUE,
    idleTimeout: IDLE_MS,
  });

  constructor({ store }: { readonly store: Pick<Store, "receipts"> }) {
    this.#store = store;
  }

  /** Siblings from the receipt's leaf to the batch's root. Throws UNAVAILABLE when too many wait. */
  async proof(batch: Batch, receiptId: Hex): Promise<Hex[]> {
    const { root } = batch;
    const index = batch.receiptIds.indexOf(receiptId);
    const kept = await this.#ask({ root, index });
    if (kept) return kept;
    const leaves = new Map<Hex, ReturnType<typeof leafOf>>();
    for await (const receipt of receiptsOf(this.#store, batch.id)) leaves.set(receipt.receiptId, leafOf(receipt));
    const proof = await this.#ask({ root, index, receipts: batch.receiptIds.map((id) => leaves.get(id)!) });
    return proof!;
  }

  async stop(): Promise<void> {
    await this.#pool.destroy();
  }

  #ask(request: ProofRequest): Promise<Hex[] | null> {
    if (this.#pool.queueSize >= MAX_QUEUE) throw new ComputeError("UNAVAILABLE", "too many proofs are being made");
    return this.#pool.run(request);
  }
}
