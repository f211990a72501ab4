import { Readable } from "node:stream";
import type { Hex } from "@proof-of-compute/proto";
import { ReceiptFile } from "@proof-of-compute/proto/verify";
import type { Batch } from "../../../domain/batch.ts";
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

const TAGS = ["ledger"];

/** Lets pages of other sites read public data, so that a site that shows a receipt can check it. */
const PUBLIC = ["access-control-allow-origin", "*"] as const;

/** Receipts that an export reads from the store at once. */
const EXPORT_PAGE = 50;

/** What was credited and why: public, so that anybody can check any unit, from any site. */
export function ledgerRoutes(app: RestApp, context: RestContext): void {
  receiptRoutes(app, context);
  receiptResultRoute(app, context);
  exportRoute(app, context);
  batchRoutes(app, context);
  batchReceiptsRoute(app, context);
}

async function requireReceipt({ components }: RestContext, id: Hex): Promise<Receipt> {
  const receipt = await components.store.receipt(id);
  if (!receipt) throw new ComputeError("NOT_FOUND", `there is no receipt ${id}`);
  return receipt;
}

async function requireBatch({ components }: RestContext, id: number): Promise<Batch> {
  const batch = await components.store.batch(id);
  if (!batch) throw new ComputeError("NOT_FOUND", `there is no batch ${id}`);
  return batch;
}

function receiptRoutes(app: RestApp, context: RestContext): void {
  const { components, receiptFiles } = context;

  app.get(
    "/api/receipts/:id",
    {
      schema: {
        summary: "A receipt with everything that its verification needs",
        description:
          "In canonical form: one line, no spaces, members in the order of docs/reference/receipt.schema.json. Once a " +
          "batch carries it, the Merkle proof for the contract's verifyReceipt is included, and once that batch is " +
          "recorded, the transaction.",
        tags: TAGS,
        params: ReceiptParams,
        response: { 200: ReceiptFile, ...PROBLEMS },
      },
    },
    async (request, reply) => {
      const text = await receiptFiles.write(await requireReceipt(context, request.params.id));
      // As text: serializing it again could change its canonical form.
      return reply
        .header(...PUBLIC)
        .type("application/json")
        .send(text as unknown as ReceiptFile);
    },
  );

  app.get(
    "/api/receipts",
    {
      schema: {
        summary: "Receipts, of one wallet or of all",
        tags: TAGS,
        querystring: ReceiptsQuery,
        response: { 200: ReceiptPage, ...PROBLEMS },
      },
    },
    async (request) => {
      const { limit, cursor, provider } = request.query;
      const page = await components.store.receipts({
        limit,
        ...(cursor !== undefined && { cursor }),
        ...(provider !== undefined && { provider: readWallet(provider) }),
      });
      return { items: page.items.map(receiptView), ...(page.cursor !== undefined && { cursor: page.cursor }) };
    },
  );
}

function receiptResultRoute(app: RestApp, context: RestContext): void {
  const { components, limits } = context;

  app.get(
    "/api/receipts/:id/result",
    {
      schema: {
        summary: "The bytes of a receipt's result",
        description:
          "For kinds whose results are public. Kept for RESULT_RETENTION, then NO_RESULT; the receipt stays. " +
          "Content-Digest (RFC 9530) and ETag carry their SHA-256.",
        tags: TAGS,
        params: ReceiptParams,
        response: { 200: OctetStream, ...PROBLEMS },
      },
      config: { rateLimit: { max: limits.downloadsPerMinute } },
    },
    async (request, reply) => {
      const receipt = await requireReceipt(context, request.params.id);
      if (!isPublic(receipt, components.kinds)) {
        throw new ComputeError("FORBIDDEN", `this coordinator does not publish results of kind ${receipt.kind}`);
      }
      reply.header(...PUBLIC).header("cache-control", "public, no-cache");
      return sendResult(context, receipt, request, reply);
    },
  );
}

function exportRoute(app: RestApp, { components, receiptFiles, limits, exportBudget }: RestContext): void {
  app.get(
    "/api/receipts/export",
    {
      // HEAD would write the whole export and discard it.
      exposeHeadRoute: false,
      schema: {
        summary: "Every receipt of a wallet, with everything that its verification needs (JSON Lines)",
        description: "One ReceiptFile per line, ordered by receipt id. `npm run verify-receipt` checks such a file.",
        tags: TAGS,
        querystring: ExportQuery,
        response: { 200: JsonLines, ...PROBLEMS },
      },
      config: { rateLimit: { max: limits.downloadsPerMinute } },
    },
    async (request, reply) => {
      const provider = readWallet(request.query.provider);
      exportBudget.open(reply, 1);
      const pages = receiptPages(components.store, { provider }, EXPORT_PAGE);
      reply.header("content-disposition", `attachment; filename="receipts-${provider}.jsonl"`);
      return reply.type("application/jsonl").send(Readable.from(receiptFiles.writeAll(pages)));
    },
  );
}

function batchRoutes(app: RestApp, context: RestContext): void {
  const { components, init } = context;
  const { network } = init;

  app.get(
    "/api/batches",
    {
      schema: {
        summary: "Batches, newest first",
        tags: TAGS,
        querystring: PageQuery,
        response: { 200: BatchPage, ...PROBLEMS },
      },
    },
    async (request) => {
      const { limit, cursor } = request.query;
      const page = await components.store.batches({ limit, ...(cursor !== undefined && { cursor }) });
      const items = page.items.map((batch) => batchSummary(batch, network));
      return { items, ...(page.cursor !== undefined && { cursor: page.cursor }) };
    },
  );

  app.get(
    "/api/batches/:id",
    {
      schema: {
        summary: "A batch with what it credits",
        tags: TAGS,
        params: BatchParams,
        response: { 200: BatchView, ...PROBLEMS },
      },
    },
    async (request) => batchView(await requireBatch(context, request.params.id), network),
  );
}

function batchReceiptsRoute(app: RestApp, context: RestContext): void {
  const { components, receiptFiles, limits, exportBudget } = context;

  app.get(
    "/api/batches/:id/receipts",
    {
      exposeHeadRoute: false,
      schema: {
        summary: "Every receipt of a batch (JSON Lines)",
        description:
          "One BatchLine per line. The leaves of the receipts give the batch's root, their units its credits, and their " +
          "specs the units; `npm run verify-batch` checks it.",
        tags: TAGS,
        params: BatchParams,
        response: { 200: JsonLines, ...PROBLEMS },
      },
      config: { rateLimit: { max: limits.downloadsPerMinute } },
    },
    async (request, reply) => {
      const batch = await requireBatch(context, request.params.id);
      const etag = `"${batch.root.slice(2)}"`;
      reply.header("etag", etag).header("cache-control", "no-cache");
      if (request.headers["if-none-match"] === etag) return reply.code(304).send();
      exportBudget.open(reply, 1);
      const pages = receiptPages(components.store, { batchId: batch.id }, EXPORT_PAGE);
      return reply.type("application/jsonl").send(Readable.from(receiptFiles.lines(pages)));
    },
  );
}
