import { z } from "zod";
import {
  address,
  assurance,
  count,
  cursor,
  hex,
  kindName,
  limit,
  page,
  text,
  time,
  units,
  walletText,
} from "../schemas.ts";

export const transaction = hex(32, "Hash of the transaction that recorded it, as far as known").optional();
export const block = z.int().optional().meta({ description: "Number of that transaction's block, as far as known" });
export const explorerUrl = z.string().optional().meta({ description: "That transaction in the explorer" });
export const batchState = z.enum(["closed", "included", "recorded"]).meta({
  description: "closed: stored; included: the chain's head holds it; recorded: a final block holds it",
});

/** One checked result of one node; it is credited once. */
export const ReceiptView = z
  .object({
    receiptId: hex(16, "The assignment id"),
    taskId: hex(16, "Task id"),
    nodeId: hex(32, "ed25519 public key of the node"),
    provider: address,
    requester: address,
    kind: kindName,
    assurance,
    specDigest: hex(32, "SHA-256 of the serialized TaskSpec"),
    resultDigest: hex(32, "SHA-256 of the result"),
    units: units("What is credited"),
    acceptedAt: time("When the result was accepted"),
    batchId: z.int().optional().meta({ description: "The batch that carries it; absent until one does" }),
    signature: z
      .object({
        signature: hex(64, 'ed25519 over "proof-of-compute/results/v1" || root of the frame'),
        index: count("Position of the result in its frame"),
        size: count("Results in the frame"),
        path: z.array(hex(32, "RFC 6962 audit path, nearest sibling first")),
      })
      .meta({ description: "The node's signature, and the audit path from the result to the signed root" }),
  })
  .meta({ id: "Receipt", description: "One checked result of one node" });

export const ReceiptParams = z.object({ id: hex(16, "Receipt id") });
/** Query of `GET /api/receipts`. */
export const ReceiptsQuery = z.object({ limit, cursor, provider: walletText.optional() });
/** Query of `GET /api/receipts/export`. */
export const ExportQuery = z.object({ provider: walletText });
export const ReceiptPage = page(ReceiptView).meta({ id: "ReceiptPage", description: "Receipts, oldest first" });

const batchShape = {
  id: z.int().meta({ description: "The contract's batch id, from 1" }),
  root: hex(32, "Root of the StandardMerkleTree over its receipts' leaves"),
  state: batchState,
  units: units("Sum of its credits"),
  providers: count("Wallets that it credits"),
  closedAt: time("When it was closed"),
  transaction,
  block,
  explorerUrl,
};
/** Receipts that go to the chain together. */
export const BatchSummary = z.object(batchShape).meta({ id: "BatchSummary", description: "A batch in a list" });
export const BatchView = z
  .object({
    ...batchShape,
    receipts: count("How many receipts it carries; GET …/receipts has them"),
    credits: z.array(z.object({ provider: address, units: units("What it adds to the wallet") })),
  })
  .meta({ id: "Batch", description: "A batch" });
export const BatchParams = z.object({ id: z.coerce.number().int().positive().meta({ description: "Batch id" }) });
export const BatchPage = page(BatchSummary).meta({ id: "BatchPage", description: "Batches, newest first" });

/** Response of `GET /api/batches/:id/receipts` and `GET /api/receipts/export`. */
export const JsonLines = text("application/jsonl", "One JSON document a line");

export type ReceiptView = z.output<typeof ReceiptView>;
export type BatchView = z.output<typeof BatchView>;
export type BatchSummary = z.output<typeof BatchSummary>;
