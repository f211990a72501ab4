import { Readable } from "node:stream";
import { receiptLeaf, toHex } from "@proof-of-compute/proto";
import { leafOf } from "../../domain/batch.ts";
import { ComputeError } from "../../domain/errors.ts";
import type { Receipt } from "../../domain/receipt.ts";
import { receiptPages } from "./batch-proofs.ts";
import { PROBLEMS, type RestApp, type RestContext } from "./context.ts";
import { readWallet } from "./problems.ts";
import {
  BatchPage,
  BatchParams,
  BatchView,
  JsonLines,
  PageQuery,
  ReceiptEvidence,
  ReceiptPage,
  ReceiptParams,
  ReceiptsQuery,
} from "./schemas.ts";
import { batchSummary, batchView, explorerLink, receiptView } from "./views.ts";

/** One receipt a line, a page of lines at a time. */
async function* jsonLines(pages: AsyncIterable<readonly Receipt[]>): AsyncGenerator<string> {
  for await (const page of pages) yield page.map((receipt) => `${JSON.stringify(receiptView(receipt))}\n`).join("");
}

/** What was credited and why: public, so that anybody can check any unit. */
export function ledgerRoutes(app: RestApp, context: RestContext): void {
  const { components, proofs, init } = context;
  const { store } = components;
  const { network } = init;

  /** The receipt with everything that a verifier needs. */
  async function evidence(receipt: Receipt): Promise<ReceiptEvidence> {
    const task = await store.task(receipt.taskId);
    const batch = receipt.batchId === undefined ? null : await store.batch(receipt.batchId);
    const { chainId, contractAddress } = network;
    const link = explorerLink(network, batch?.transaction);
    return {
      receipt: receiptView(receipt),
      leaf: receiptLeaf(leafOf(receipt)),
      ...(task && { spec: toHex(task.spec) }),
      ...(chainId !== undefined && contractAddress && { chain: { chainId, contract: contractAddress } }),
      ...(batch && {
        proof: await proofs.proof(batch, receipt.receiptId),
        batch: {
          id: batch.id,
          root: batch.root,
          state: batch.state,
          ...(batch.transaction && { transaction: batch.transaction }),
          ...(batch.block !== undefined && { block: batch.block }),
        },
      }),
      ...(link && { explorerUrl: link }),
    };
  }

  app.get(
    "/api/receipts/:id",
    {
      schema: {
        summary: "A receipt with all that is needed to check it",
        description:
          "Once a batch carries it: the Merkle proof for the contract's verifyReceipt, and where it is recorded.",
        tags: ["ledger"],
        params: ReceiptParams,
        response: { 200: ReceiptEvidence, ...PROBLEMS },
      },
    },
    async (request) => {
      const receipt = await store.receipt(request.params.id);
      if (!receipt) throw new ComputeError("NOT_FOUND", `there is no receipt ${request.params.id}`);
      return evidence(receipt);
    },
  );

  app.get(
    "/api/receipts",
    {
      schema: {
        summary: "Receipts, of one wallet if asked so",
        tags: ["ledger"],
        querystring: ReceiptsQuery,
        response: { 200: ReceiptPage, ...PROBLEMS },
      },
    },
    async (request) => {
      const { limit, cursor, provider } = request.query;
      const page = await store.receipts({
        limit,
        ...(cursor !== undefined && { cursor }),
        ...(provider !== undefined && { provider: readWallet(provider) }),
      });
      return { items: page.items.map(receiptView), ...(page.cursor !== undefined && { cursor: page.cursor }) };
    },
  );

  app.get(
    "/api/batches",
    {
      schema: {
        summary: "Batches, newest first",
        tags: ["ledger"],
        querystring: PageQuery,
        response: { 200: BatchPage, ...PROBLEMS },
      },
    },
    async (request) => {
      const { limit, cursor } = request.query;
      const page = await store.batches({ limit, ...(cursor !== undefined && { cursor }) });
      const items = page.items.map((batch) => batchSummary(batch, network));
      return { items, ...(page.cursor !== undefined && { cursor: page.cursor }) };
    },
  );

  async function requireBatch(id: number) {
    const batch = await store.batch(id);
    if (!batch) throw new ComputeError("NOT_FOUND", `there is no batch ${id}`);
    return batch;
  }

  app.get(
    "/api/batches/:id",
    {
      schema: {
        summary: "A batch with what it credits",
        tags: ["ledger"],
        params: BatchParams,
        response: { 200: BatchView, ...PROBLEMS },
      },
    },
    async (request) => batchView(await requireBatch(request.params.id), network),
  );

  app.get(
    "/api/batches/:id/receipts",
    {
      schema: {
        summary: "Every receipt of a batch (JSON Lines)",
        description: "One Receipt a line. Their leaves make the batch's root and their units its credits; check it.",
        tags: ["ledger"],
        params: BatchParams,
        response: { 200: JsonLines, ...PROBLEMS },
      },
    },
    async (request, reply) => {
      const batch = await requireBatch(request.params.id);
      const etag = `"${batch.root.slice(2)}"`;
      reply.header("etag", etag).header("cache-control", "no-cache");
      if (request.headers["if-none-match"] === etag) return reply.code(304).send();
      return reply.type("application/jsonl").send(Readable.from(jsonLines(receiptPages(store, batch.id))));
    },
  );
}
