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
  /** Where this facade is reached, for the address of a result. */
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

/** Writes receipts so that whoever holds the text needs nothing more from this coordinator. */
export class ReceiptFiles {
  readonly #components: Components;
  readonly #init: Init;

  constructor(components: Components, init: Init) {
    this.#components = components;
    this.#init = init;
  }

  /** The receipt with its spec, its signature and, once there is a batch, its way to the chain; see `writeReceipt`. */
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
   * A text a line, one after the other: the worker that makes proofs keeps few trees, and a page may be of many batches.
   * Each as soon as it is written: a page may take a minute, after which a silent answer is cut off.
   */
  async *writeAll(pages: AsyncIterable<readonly Receipt[]>): AsyncGenerator<string> {
    for await (const page of pages) for (const receipt of page) yield `${await this.write(receipt)}\n`;
  }

  /** Receipts as lines of their batch's list, a page at a time. */
  async *lines(pages: AsyncIterable<readonly Receipt[]>): AsyncGenerator<string> {
    for await (const page of pages) yield page.map((receipt) => `${batchLine(receipt)}\n`).join("");
  }

  async #batch({ receiptId, batchId }: Receipt): Promise<ReceiptFile["batch"]> {
    if (batchId === undefined) return undefined;
    const batch = await this.#components.batches.progress(batchId);
    if (!batch) throw new ComputeError("INTERNAL", `a receipt without its batch ${batchId}`);
    const { id, root, state, transaction, block } = batch;
    const proof = await this.#components.proofs.proof(batch, receiptId);
    // Before it is final, a reorg may move it to another transaction and block.
    const known = state === "recorded" && transaction !== undefined && block !== undefined;
    return { id, root, proof: [...proof], ...(known && { recorded: { transaction, block } }) };
  }
}
