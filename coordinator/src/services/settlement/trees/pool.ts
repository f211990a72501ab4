import type { Hex } from "@proof-of-compute/proto";
import { Piscina } from "piscina";
import { leafOf } from "../../../domain/batch.ts";
import { ComputeError } from "../../../domain/errors.ts";
import type { Receipt } from "../../../domain/receipt.ts";
import { abortable } from "../../../util/abortable.ts";
import { MAX_WAITING_PROOFS, RECEIPT_PAGE, TREES_IDLE_MS } from "../limits.ts";
import type { TreeAnswer, TreeRequest } from "./worker.ts";

/** Merkle trees of batches, in a worker thread: hashing 50,000 receipts would block the event loop for seconds. */
export class ReceiptTrees {
  // One thread, because it collects a tree over several messages and keeps trees.
  readonly #pool = new Piscina<TreeRequest, TreeAnswer>({
    filename: new URL("./worker.ts", import.meta.url).href,
    minThreads: 0,
    maxThreads: 1,
    idleTimeout: TREES_IDLE_MS,
  });
  /** Batches whose receipts are being sent to the worker. */
  readonly #sending = new Map<Hex, Promise<void>>();
  #jobs = 0;

  /**
   * Root of the tree over the receipts' leaves, of which there is at least one. Rejects when `signal` aborts; the signal
   * is not given to the pool, which throws uncaught exceptions for late answers to aborted tasks.
   */
  async root(receipts: readonly Receipt[], signal: AbortSignal): Promise<Hex> {
    const key = `root ${this.#jobs++}`;
    for (let start = 0; start < receipts.length; start += RECEIPT_PAGE) {
      const leaves = receipts.slice(start, start + RECEIPT_PAGE).map(leafOf);
      await abortable(this.#pool.run({ key, leaves, first: start === 0 }), signal);
    }
    return (await abortable(this.#pool.run({ key, size: receipts.length }), signal)) as Hex;
  }

  /**
   * Siblings from the receipt's leaf to the root of its batch; `read` reads the batch's receipts, if the worker lacks
   * them. Rejects with UNAVAILABLE when too many proofs wait.
   */
  async proof(root: Hex, receiptId: Hex, read: () => AsyncIterable<readonly Receipt[]>): Promise<readonly Hex[]> {
    if (this.#pool.queueSize >= MAX_WAITING_PROOFS) {
      throw new ComputeError("UNAVAILABLE", "too many proofs are waiting");
    }
    const known = this.#sending.has(root) ? null : await this.#ask(root, receiptId);
    if (known) return known;
    const sending = this.#sending.get(root) ?? this.#send(root, read());
    this.#sending.set(root, sending);
    await sending;
    const proof = await this.#ask(root, receiptId);
    // The worker has ended, or dropped the tree for others. Rare, so the reader may ask again.
    if (!proof) throw new ComputeError("UNAVAILABLE", "the proof was not made; ask again");
    return proof;
  }

  async stop(): Promise<void> {
    await this.#pool.destroy();
  }

  async #ask(root: Hex, receiptId: Hex): Promise<readonly Hex[] | null> {
    return (await this.#pool.run({ key: root, receiptId })) as readonly Hex[] | null;
  }

  async #send(root: Hex, pages: AsyncIterable<readonly Receipt[]>): Promise<void> {
    try {
      let first = true;
      for await (const page of pages) {
        await this.#pool.run({ key: root, leaves: page.map(leafOf), first });
        first = false;
      }
    } finally {
      this.#sending.delete(root);
    }
  }
}
