import { receiptLeaf } from "@proof-of-compute/proto";
import { type BatchLine, type ReceiptFile, writeReceipt } from "@proof-of-compute/proto/verify";
import { leafOf } from "../../../domain/batch.ts";
import { ComputeError } from "../../../domain/errors.ts";
import type { Receipt } from "../../../domain/receipt.ts";
import type { RestComponents, RestNetwork } from "../components.ts";
import { isPublic, isResultKept } from "../tasks/results.ts";
import type { BatchLookup } from "./batch-lookup.ts";

interface Components extends Pick<RestComponents, "kinds" | "store" | "blobs" | "proofs"> {
  readonly batches: BatchLookup;
}

interface Init {
  readonly network: RestNetwork;
  /** The facade's own origin, for the URL of a result. */
  readonly origin: () => string;
}

/** The leaf's fields in the order of the published forms. */
function fieldsOf({ units, ...receipt }: Receipt): ReceiptFile["receipt"] {
  const { receiptId, taskId, nodeId, provider, requester, kind, assurance, specDigest, resultDigest } = receipt;
  const ids = { receiptId, taskId, nodeId, provider, requester, kind, assurance, specDigest, resultDigest };
  return { ...ids, units: units.toString(), acceptedAt: receipt.acceptedAt };
}

function signatureOf({ proof: { signature, index, size, path } }: Receipt): ReceiptFile["signature"] {
  return { signature, index, size, path: [...path] };
}

function batchLine(receipt: Receipt): string {
  const { batchId, spec } = receipt;
  const line: BatchLine = { ...fieldsOf(receipt), batchId: batchId!, signature: signatureOf(receipt), spec };
  return JSON.stringify(line);
}

/** Writes receipts as files that can be verified without this coordinator. */
export class ReceiptFiles {
  readonly #components: Components;
  readonly #init: Init;

  constructor(components: Components, init: Init) {
    this.#components = components;
    this.#init = init;
  }

  /** The receipt with its spec, its signature and, once a batch carries it, its Merkle proof; see `writeReceipt`. */
  async write(receipt: Receipt): Promise<string> {
    const { network, origin } = this.#init;
    const { chainId, contractAddress } = network;
    const available = isPublic(receipt, this.#components.kinds) && (await isResultKept(this.#components, receipt));
    const batch = await this.#batch(receipt);
    return writeReceipt({
      receipt: fieldsOf(receipt),
      spec: receipt.spec,
      signature: signatureOf(receipt),
      result: available ? { available, url: `${origin()}/api/receipts/${receipt.receiptId}/result` } : { available },
      leaf: receiptLeaf(leafOf(receipt)),
      ...(chainId !== undefined && contractAddress && { chain: { chainId, contract: contractAddress } }),
      ...(batch && { batch }),
    });
  }

  /**
   * One receipt per line, written one after the other: the proof worker keeps few trees, and a page may span many batches.
   * Each line is sent at once, because a page may take a minute, and a silent connection is closed after that.
   */
  async *writeAll(pages: AsyncIterable<readonly Receipt[]>): AsyncGenerator<string> {
    for await (const page of pages) for (const receipt of page) yield `${await this.write(receipt)}\n`;
  }

  /** Receipts as lines of a batch's list, a page at a time. */
  async *lines(pages: AsyncIterable<readonly Receipt[]>): AsyncGenerator<string> {
    for await (const page of pages) yield page.map((receipt) => `${batchLine(receipt)}\n`).join("");
  }

  async #batch({ receiptId, batchId }: Receipt): Promise<ReceiptFile["batch"]> {
    if (batchId === undefined) return undefined;
    const batch = await this.#components.batches.progress(batchId);
    if (!batch) throw new ComputeError("INTERNAL", `a receipt without its batch ${batchId}`);
    const { id, root, state, transaction, block } = batch;
    const proof = await this.#components.proofs.proof(batch, receiptId);
    // Until the batch is final, a reorg may move it to another transaction and block.
    const known = state === "recorded" && transaction !== undefined && block !== undefined;
    return { id, root, proof: [...proof], ...(known && { recorded: { transaction, block } }) };
  }
}
