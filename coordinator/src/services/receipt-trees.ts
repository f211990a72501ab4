import type { Hex } from "@proof-of-compute/proto";
import { Piscina } from "piscina";
import { leafOf } from "../domain/batch.ts";
import type { Receipt } from "../domain/receipt.ts";
import type { TreeStep } from "./tree-worker.ts";

/** Receipts copied to the worker at a time: about a millisecond of the event loop. */
const CHUNK = 1_000;

/** Makes the Merkle roots of batches in a worker thread: 50,000 receipts would stall the event loop for seconds. */
export class ReceiptTrees {
  readonly #pool = new Piscina<TreeStep, Hex[]>({
    filename: new URL("./tree-worker.ts", import.meta.url).href,
    minThreads: 0,
    maxThreads: 1,
    idleTimeout: 30_000,
  });

  /** Root of the StandardMerkleTree over the receipts' leaves. Rejects with an AbortError when `signal` aborts. */
  async root(receipts: readonly Receipt[], signal?: AbortSignal): Promise<Hex> {
    const options = signal ? { signal } : {};
    const leaves: Hex[] = [];
    for (let start = 0; start < receipts.length; start += CHUNK) {
      const chunk = receipts.slice(start, start + CHUNK).map(leafOf);
      for (const leaf of await this.#pool.run({ receipts: chunk }, options)) leaves.push(leaf);
    }
    const [root] = await this.#pool.run({ leaves }, options);
    return root!;
  }

  async stop(): Promise<void> {
    await this.#pool.destroy();
  }
}
