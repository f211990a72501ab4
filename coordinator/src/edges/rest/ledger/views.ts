import type { Hex } from "@proof-of-compute/proto";
import type { Batch } from "../../../domain/batch.ts";
import type { Receipt } from "../../../domain/receipt.ts";
import type { RestNetwork } from "../components.ts";
import { present } from "../present.ts";
import type { BatchSummary, BatchView, ReceiptView } from "./schemas.ts";

/** What a batch shows beside its content. */
export type BatchProgress = Pick<Batch, "id" | "root" | "state" | "transaction" | "block">;

/** A transaction's page in the explorer, where the network has one. */
function explorerLink(network: RestNetwork, transaction: Hex | undefined): string | undefined {
  return network.explorerUrl && transaction ? `${network.explorerUrl}/tx/${transaction}` : undefined;
}

/** State, transaction and link of a batch. */
export function progressView(batch: BatchProgress, network: RestNetwork) {
  const { transaction, block } = batch;
  return {
    id: batch.id,
    state: batch.state,
    ...present({ transaction, block, explorerUrl: explorerLink(network, transaction) }),
  };
}

/** A receipt with the names of its kind and assurance. */
export function receiptView(receipt: Receipt): ReceiptView {
  const { proof, batchId, units, spec: _, quarantined: __, ...rest } = receipt;
  return {
    ...rest,
    units: units.toString(),
    ...present({ batchId }),
    signature: { signature: proof.signature, index: proof.index, size: proof.size, path: [...proof.path] },
  };
}

/** A batch in a list. */
export function batchSummary(batch: Batch, network: RestNetwork): BatchSummary {
  return {
    ...progressView(batch, network),
    root: batch.root,
    units: batch.units.toString(),
    providers: batch.credits.length,
    closedAt: batch.closedAt,
  };
}

/** A batch with what it credits. */
export function batchView(batch: Batch, network: RestNetwork): BatchView {
  return {
    ...batchSummary(batch, network),
    receipts: batch.receiptIds.length,
    credits: batch.credits.map(({ provider, units }) => ({ provider, units: units.toString() })),
  };
}
