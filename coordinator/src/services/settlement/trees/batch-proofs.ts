import type { Hex } from "@proof-of-compute/proto";
import type { Batch } from "../../../domain/batch.ts";
import type { ReceiptStore } from "../../../ports/receipts.ts";
import { receiptPages } from "../receipt-pages.ts";
import type { ReceiptTrees } from "./pool.ts";

export interface BatchProofsComponents {
  readonly store: Pick<ReceiptStore, "receipts">;
  readonly trees: Pick<ReceiptTrees, "proof">;
}

/** Merkle proofs of batched receipts. */
export class BatchProofs {
  readonly #components: BatchProofsComponents;

  constructor(components: BatchProofsComponents) {
    this.#components = components;
  }

  /** Siblings from the receipt's leaf to the batch's root. Throws UNAVAILABLE when too many proofs wait. */
  proof({ id, root }: Pick<Batch, "id" | "root">, receiptId: Hex): Promise<readonly Hex[]> {
    const { store, trees } = this.#components;
    return trees.proof(root, receiptId, () => receiptPages(store, { batchId: id }));
  }
}
