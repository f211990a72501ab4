import { sha256 } from "#crypto";
import { fromHex, type Hex, toHex } from "./bytes.ts";
import { checkProduct } from "./kinds/matmul/kernel.ts";
import { FREIVALDS_ERROR_BITS, type MatmulTask, matmulSeed } from "./kinds/matmul/matmul.ts";
import { type ReceiptLeaf, receiptLeaf, verifyReceiptProof } from "./receipt.ts";
import { type MatmulTaskSpec, readTaskSpec } from "./spec.ts";
import {
  asked,
  Broken,
  checkNodeSignature,
  checkSpecDigest,
  checkSpecFields,
  Open,
  outcomeOf,
} from "./verify-checks.ts";
import { hasChecksum, leafFields, type ReceiptFile, readReceipt } from "./verify-format.ts";

export * from "./verify-format.ts";

/**
 * The links from a file to the work, in the order in which they are checked:
 * - `format`: it is a receipt, written in the one canonical way.
 * - `spec digest`: the spec's bytes are those that the receipt names.
 * - `spec fields`: what the spec says (chain, contract, requester, kind, size) is what the receipt says, units included.
 * - `node signature`: the node signed this result of this spec, for this wallet.
 * - `leaf`: the leaf is that of the receipt's fields.
 * - `merkle proof`: the leaf stands in the batch's tree.
 * - `root on chain`: the contract holds that root for that batch at a final block.
 * - `transaction`: the named transaction recorded the batch in the named block.
 * - `result digest`: the result's bytes are those that were signed.
 * - `product`: they are the product that the spec asks for.
 * - `checksum`: nothing else in the file, which no proof covers, was changed by accident.
 */
export const LINKS = [
  "format",
  "spec digest",
  "spec fields",
  "node signature",
  "leaf",
  "merkle proof",
  "root on chain",
  "transaction",
  "result digest",
  "product",
  "checksum",
] as const;
export type LinkName = (typeof LINKS)[number];

/** One link, checked. `unchecked` says nothing about whether it holds; `detail` is for people. */
export interface CheckedLink {
  readonly name: LinkName;
  readonly status: "ok" | "failed" | "unchecked";
  readonly detail: string;
}

/** What the chain says, read by the caller at one final block. */
export interface ChainFacts {
  /** Of the chain that answered. */
  readonly chainId: number;
  /** Number of the final block. */
  readonly block: number;
  /** `rootOf(batch)` of the contract at that block; null where it holds none. */
  readonly root: Hex | null;
  /** The receipt's transaction: its block, and the BatchRecorded events of the contract in it. Null: there is none. */
  readonly transaction?: {
    readonly block: number;
    readonly recorded: readonly { readonly batchId: number; readonly root: Hex }[];
  } | null;
}

/**
 * Where facts come from that the file does not hold. This module never touches a network: what is absent or throws leaves
 * its links unchecked, with the error's message.
 */
export interface Sources {
  /** The contract whose units count, when the caller knows it: a receipt for another one is broken. */
  readonly contract?: Hex;
  /** Reads the contract; asked only when every link before it holds. */
  chain?(
    where: { readonly chainId: number; readonly contract: Hex },
    batch: { readonly id: number; readonly transaction: Hex | undefined },
  ): ChainFacts | Promise<ChainFacts>;
  /** The result's bytes: from a file, from `file.result.url`, or computed again from `task`. */
  result?(file: ReceiptFile, task: MatmulTask): Uint8Array | Promise<Uint8Array>;
  /** Freivalds' check, for callers that make it elsewhere than on this thread. */
  product?(task: MatmulTask, output: Uint8Array, outputDigest: Uint8Array): boolean | Promise<boolean>;
}

/** What links hand on. */
class Check {
  readonly #text: string;
  readonly #sources: Sources;
  #file: ReceiptFile | undefined;
  #leaf: ReceiptLeaf | undefined;
  #spec: MatmulTaskSpec | undefined;
  #facts: ChainFacts | undefined;
  #result: Uint8Array | undefined;

  constructor(text: string, sources: Sources) {
    this.#text = text;
    this.#sources = sources;
  }

  /** Each returns what to say when the link holds, and throws otherwise. */
  readonly links: Record<LinkName, () => string | Promise<string>> = {
    format: () => {
      this.#file = readReceipt(this.#text);
      this.#leaf = leafFields(this.file.receipt);
      return this.file.format;
    },
    "spec digest": () => {
      checkSpecDigest(this.file.receipt, this.file.spec);
      return this.file.receipt.specDigest;
    },
    "spec fields": () => this.#specFields(),
    "node signature": () => {
      checkNodeSignature(this.file.receipt, this.file.signature);
      return `node ${this.file.receipt.nodeId}`;
    },
    leaf: () => {
      const leaf = receiptLeaf(this.leaf);
      if (leaf !== this.file.leaf) throw new Broken(`the receipt's fields make the leaf ${leaf}`);
      return leaf;
    },
    "merkle proof": () => {
      const { batch, leaf } = this.file;
      if (!batch) throw new Open("no batch carries it yet");
      if (!verifyReceiptProof(batch.root, leaf, batch.proof)) throw new Broken("the proof does not lead to the root");
      return `stands in the tree of batch ${batch.id}`;
    },
    "root on chain": () => this.#rootOnChain(),
    transaction: () => this.#transaction(),
    "result digest": () => this.#resultDigest(),
    product: () => this.#product(),
    checksum: () => {
      if (!hasChecksum(this.file)) throw new Broken("the file was changed after it was written");
      return "the file is as it was written";
    },
  };

  get file(): ReceiptFile {
    return this.#file!;
  }

  get leaf(): ReceiptLeaf {
    return this.#leaf!;
  }

  get #task(): MatmulTask {
    const { receiptId, taskId, nodeId, specDigest } = this.leaf;
    const seed = matmulSeed({
      assignmentId: fromHex(receiptId),
      taskId: fromHex(taskId),
      nodeId: fromHex(nodeId),
      specDigest: fromHex(specDigest),
    });
    const { n, k } = this.#spec!;
    return { seed, n, k };
  }

  #specFields(): string {
    const { receipt, chain, spec } = this.file;
    this.#spec = readTaskSpec(fromHex(spec));
    const { n, k } = this.#spec;
    checkSpecFields(receipt, this.#spec, chain);
    return `${k} matrices of ${n} x ${n} over F_251, ${receipt.units} units`;
  }

  async #rootOnChain(): Promise<string> {
    const { chain, batch } = this.file;
    if (!batch) throw new Open("no batch carries it yet");
    if (!chain) throw new Open("the receipt names no chain");
    const { id, root, recorded } = batch;
    const expected = this.#sources.contract;
    if (expected !== undefined && expected !== chain.contract) {
      throw new Broken(`it is for the contract ${chain.contract}, not for ${expected}`);
    }
    const read = this.#sources.chain;
    if (!read) throw new Open("no chain was asked");
    const facts = await asked(() => read(chain, { id, transaction: recorded?.transaction }));
    if (facts.chainId !== chain.chainId) throw new Open(`chain ${facts.chainId} was asked, not ${chain.chainId}`);
    this.#facts = facts;
    if (facts.root === null) {
      // One that claims to be recorded can be refuted, one that is on its way cannot.
      const refuted = recorded !== undefined && facts.block >= recorded.block;
      throw new (refuted ? Broken : Open)(`the contract holds no batch ${id} at the final block ${facts.block}`);
    }
    if (facts.root !== root) throw new Broken(`the contract holds the root ${facts.root} for batch ${id}`);
    return `contract ${chain.contract} on chain ${chain.chainId} holds it for batch ${id} at the final block ${facts.block}`;
  }

  #transaction(): string {
    const { batch } = this.file;
    if (!batch?.recorded) throw new Open("the receipt names none");
    if (this.#facts?.transaction === undefined) throw new Open("the chain was not asked for it");
    const { transaction: found, block } = this.#facts;
    const { recorded, id, root } = batch;
    if (found === null || found.block > block) throw new Broken(`no final block has ${recorded.transaction}`);
    if (found.block !== recorded.block) throw new Broken(`it is in block ${found.block}, not ${recorded.block}`);
    if (!found.recorded.some((event) => event.batchId === id && event.root === root)) {
      throw new Broken(`it did not record batch ${id}`);
    }
    return `${recorded.transaction} in block ${recorded.block}`;
  }

  async #resultDigest(): Promise<string> {
    const read = this.#sources.result;
    if (!read) {
      throw new Open(
        this.file.result.available ? "the result was not read" : "the coordinator keeps it no longer: compute it again",
      );
    }
    const result = await asked(() => read(this.file, this.#task));
    const digest = toHex(sha256(result));
    if (digest !== this.leaf.resultDigest) throw new Broken(`these ${result.length} bytes have the digest ${digest}`);
    this.#result = result;
    return digest;
  }

  async #product(): Promise<string> {
    if (!this.#result) throw new Open("the result was not read");
    const check = this.#sources.product ?? checkProduct;
    const result = this.#result;
    const right = await asked(() => check(this.#task, result, fromHex(this.leaf.resultDigest)));
    if (!right) throw new Broken("the result is not the product of its matrices");
    return `Freivalds' check passed: a wrong product does with probability at most 2^-${FREIVALDS_ERROR_BITS}`;
  }
}

/**
 * Checks a receipt's text link by link, in the order of {@link LINKS}, and yields each as it is known. After the first
 * broken link the others stay unchecked, and nobody is asked for facts any more.
 */
export async function* verifyReceipt(text: string, sources: Sources = {}): AsyncGenerator<CheckedLink, void> {
  const check = new Check(text, sources);
  let broken: LinkName | undefined;
  for (const name of LINKS) {
    if (broken) {
      yield { name, status: "unchecked", detail: `${broken} is broken` };
      continue;
    }
    try {
      yield { name, status: "ok", detail: await check.links[name]() };
    } catch (error) {
      const outcome = outcomeOf(error);
      if (outcome.status === "failed") broken = name;
      yield { name, ...outcome };
    }
  }
}

/**
 * What links come to: `verified` when all hold, `broken` when one does not, else `unproven`. Only the transaction, which
 * says where the root was recorded and not whether, may be missing from a verified receipt.
 */
export function verdictOf(links: readonly CheckedLink[]): "verified" | "broken" | "unproven" {
  if (links.some(({ status }) => status === "failed")) return "broken";
  const needed = links.filter(({ name }) => name !== "transaction");
  return links.length === LINKS.length && needed.every(({ status }) => status === "ok") ? "verified" : "unproven";
}
