import { Readable } from "node:stream";
import type { Hex } from "@proof-of-compute/proto";
import { ReceiptFile } from "@proof-of-compute/proto/verify";
import { ComputeError } from "../../../domain/errors.ts";
import type { Receipt } from "../../../domain/receipt.ts";
import { receiptPages } from "../../../services/settlement/receipt-pages.ts";
import { PROBLEMS, type RestApp, type RestContext } from "../context.ts";
import { readWallet } from "../problems.ts";
import { OctetStream, PageQuery } from "../schemas.ts";
import { isPublic, sendResult } from "../tasks/results.ts";
import {
  BatchPage,
  BatchParams,
  BatchView,
  ExportQuery,
  JsonLines,
  ReceiptPage,
  ReceiptParams,
  ReceiptsQuery,
} from "./schemas.ts";
import { batchSummary, batchView, receiptView } from "./views.ts";

/** Any site may read what is public anyway, so that receipts can be checked by whoever shows them. */
const PUBLIC = ["access-control-allow-origin", "*"] as const;

/** Receipts read at once, each of which takes a task to be read: some milliseconds. */
const WRITTEN_PAGE = 50;

/** What was credited and why: public, so that anybody can check any unit, from any site. */
export function ledgerRoutes(app: RestApp, context: RestContext): void {
  const { components, receiptFiles, init, limits, exportBudget } = context;
  const { store, kinds } = components;
  const { network } = init;

  async function requireReceipt(id: Hex): Promise<Receipt> {
    const receipt = await store.receipt(id);
    if (!receipt) throw new ComputeError("NOT_FOUND", `there is no receipt ${id}`);
    return receipt;
  }

  app.get(
    "/api/receipts/:id",
    {
      schema: {
        summary: "A receipt with all that is needed to check it",
        description:
          "In a canonical form: one line, no spaces, members in the order of docs/reference/receipt.schema.json. Once a batch " +
          "carries it with the Merkle proof for the contract's verifyReceipt, and where it is recorded.",
        tags: ["ledger"],
        params: ReceiptParams,
        response: { 200: ReceiptFile, ...PROBLEMS },
      },
    },
    async (request, reply) => {
      const text = await receiptFiles.write(await requireReceipt(request.params.id));
      // As text, so that it is sent as it was written.
      return reply
        .header(...PUBLIC)
        .type("application/json")
        .send(text as unknown as ReceiptFile);
    },
  );

  app.get(
    "/api/receipts/:id/result",
    {
      schema: {
        summary: "The bytes of a receipt's result",
        description:
          "Kept for RESULT_RETENTION, then NO_RESULT; the receipt stays. Only kinds whose results are public have them here. " +
          "Content-Digest (RFC 9530) and ETag carry their SHA-256.",
        tags: ["ledger"],
        params: ReceiptParams,
        response: { 200: OctetStream, ...PROBLEMS },
      },
      config: { rateLimit: { max: limits.downloadsPerMinute } },
    },
    async (request, reply) => {
      const receipt = await requireReceipt(request.params.id);
      if (!isPublic(receipt, kinds)) {
        throw new ComputeError("FORBIDDEN", `results of kind ${receipt.kind} are not public here`);
      }
      reply.header(...PUBLIC).header("cache-control", "public, no-cache");
      return sendResult(context, receipt, request, reply);
    },
  );

  app.get(
    "/api/receipts/export",
    {
      // HEAD would write all of it for nobody.
      exposeHeadRoute: false,
      schema: {
        summary: "Every receipt of a wallet, with all that is needed to check it (JSON Lines)",
        description: "One ReceiptFile a line, by receipt id. `npm run verify-receipt` checks such a file.",
        tags: ["ledger"],
        querystring: ExportQuery,
        response: { 200: JsonLines, ...PROBLEMS },
      },
      config: { rateLimit: { max: limits.downloadsPerMinute } },
    },
    async (request, reply) => {
      const provider = readWallet(request.query.provider);
      exportBudget.open(reply, 1);
      const pages = receiptPages(store, { provider }, WRITTEN_PAGE);
      reply.header("content-disposition", `attachment; filename="receipts-${provider}.jsonl"`);
      return reply.type("application/jsonl").send(Readable.from(receiptFiles.writeAll(pages)));
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
      exposeHeadRoute: false,
      schema: {
        summary: "Every receipt of a batch (JSON Lines)",
        description:
          "One BatchLine a line. Their leaves make the batch's root, their units its credits, and their specs the units; " +
          "`npm run verify-batch` checks it.",
        tags: ["ledger"],
        params: BatchParams,
        response: { 200: JsonLines, ...PROBLEMS },
      },
      config: { rateLimit: { max: limits.downloadsPerMinute } },
    },
    async (request, reply) => {
      const batch = await requireBatch(request.params.id);
      const etag = `"${batch.root.slice(2)}"`;
      reply.header("etag", etag).header("cache-control", "no-cache");
      if (request.headers["if-none-match"] === etag) return reply.code(304).send();
      exportBudget.open(reply, 1);
      const pages = receiptPages(store, { batchId: batch.id }, WRITTEN_PAGE);
      return reply.type("application/jsonl").send(Readable.from(receiptFiles.lines(pages)));
    },
  );
}
