import type { Hex } from "@proof-of-compute/proto";
import { Piscina } from "piscina";
import { leafOf } from "../../../domain/batch.ts";
import type { Receipt } from "../../../domain/receipt.ts";
import { abortable } from "../../../util/abortable.ts";
import type { TreePart } from "./worker.ts";

/** Receipts copied to the worker at a time: about a millisecond of the event loop. */
const PART = 1_000;

/** Makes the Merkle roots of batches in a worker thread: those of 50,000 receipts would stall the event loop. */
export class ReceiptTrees {
  // One thread, because it collects a batch over several messages.
  readonly #pool = new Piscina<TreePart, Hex | undefined>({
    filename: new URL("./worker.ts", import.meta.url).href,
    minThreads: 0,
    maxThreads: 1,
    idleTimeout: 30_000,
  });
  #jobs = 0;

  /**
   * Root of the tree over the receipts' leaves, of which there is at least one. Rejects when `signal` aborts; it is not
   * given to the pool, whose late answers to aborted tasks are uncaught exceptions.
   */
  async root(receipts: readonly Receipt[], signal: AbortSignal): Promise<Hex> {
    const job = this.#jobs++;
    const size = receipts.length;
    for (let start = 0; ; start += PART) {
      const last = start + PART >= size;
      const part = { job, receipts: receipts.slice(start, start + PART).map(leafOf), ...(last && { size }) };
      const root = await abortable(this.#pool.run(part), signal);
      if (root !== undefined) return root;
    }
  }

  async stop(): Promise<void> {
    await this.#pool.destroy();
  }
}
