import { sha256 } from "#crypto";
import { fromHex, type Hex, toHex } from "../bytes.ts";
import { checkLink, KINDS } from "../kinds/index.ts";
import type { Claim, Finding, Kind, Work } from "../kinds/kind.ts";
import type { KindRegistry } from "../kinds/registry.ts";
import { type ReadTaskSpec, readTaskSpec } from "../kinds/task-spec.ts";
import { receiptLeaf, verifyReceiptProof } from "../receipt.ts";
import { checkNodeSignature, checkSpecDigest, checkSpecFields, unknownKind } from "./checks.ts";
import { hasChecksum, leafFields, type ReceiptFile, readReceipt } from "./format.ts";
import { LINKS, type LinkDescription, UNITS_LINK } from "./links.ts";
import { asked, Broken, Open, outcomeOf } from "./outcome.ts";

export * from "./format.ts";
export { LINKS, type LinkDescription } from "./links.ts";

/** One link, checked. `unchecked` says nothing about whether it holds; `detail` is for people. */
export interface CheckedLink {
  /** One of {@link linksOf}. */
  readonly name: string;
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
  /** The result's bytes: from a file, from `file.result.url`, or computed again with `recompute(kind, work)`. */
  result?(file: ReceiptFile, work: Work<unknown>, kind: Kind): Uint8Array | Promise<Uint8Array>;
  /** Checks the kind's link of that name, for callers that do so elsewhere than on this thread. */
  link?(name: string, claim: Claim<unknown>, kind: Kind): Finding | Promise<Finding>;
}

/** A link before its check, which returns what to say when the link holds, and throws otherwise. */
interface Step extends LinkDescription {
  check(): string | Promise<string>;
}

/** Runs what may throw, for later. */
function attempt<T>(read: () => T): { readonly value: T } | { readonly error: unknown } {
  try {
    return { value: read() };
  } catch (error) {
    return { error };
  }
}

function resultOf<T>(attempted: { readonly value: T } | { readonly error: unknown }): T {
  if ("error" in attempted) throw attempted.error;
  return attempted.value;
}

/** One receipt under check, and what its links hand on. */
class Check {
  readonly #sources: Sources;
  readonly #kinds: KindRegistry<Kind>;
  readonly #file: ReturnType<typeof attempt<ReceiptFile>>;
  readonly #spec: ReturnType<typeof attempt<ReadTaskSpec>>;
  #leafHolds = false;
  #facts: ChainFacts | undefined;
  #result: Uint8Array | undefined;

  constructor(text: string, sources: Sources, kinds: KindRegistry<Kind>) {
    this.#sources = sources;
    this.#kinds = kinds;
    this.#file = attempt(() => readReceipt(text));
    this.#spec = attempt(() => readTaskSpec(fromHex(this.file.spec), kinds));
  }

  get file(): ReceiptFile {
    return resultOf(this.#file);
  }

  get #read(): ReadTaskSpec {
    return resultOf(this.#spec);
  }

  /** Every link, in order. */
  get steps(): readonly Step[] {
    const checks: Readonly<Record<string, Step["check"]>> = {
      format: () => this.file.format,
      "spec digest": () => this.#specDigest(),
      "spec fields": () => this.#specFields(),
      "node signature": () => this.#nodeSignature(),
      leaf: () => this.#leaf(),
      "merkle proof": () => this.#merkleProof(),
      "root on chain": () => this.#rootOnChain(),
      transaction: () => this.#transaction(),
      "result digest": () => this.#resultDigest(),
      checksum: () => this.#checksum(),
    };
    const steps = LINKS.map((link) => ({ ...link, check: checks[link.name]! }));
    return [...steps.slice(0, -1), ...this.#kindSteps(), ...steps.slice(-1)];
  }

  #kindSteps(): Step[] {
    const read = "value" in this.#spec ? this.#spec.value : undefined;
    const kind = read?.kind ?? ("value" in this.#file ? this.#kinds.get(this.file.receipt.kind) : undefined);
    const unitsAreExact = !read?.kind || read.kind.bounds(read.spec).unitsAreExact;
    return [
      ...(unitsAreExact ? [] : [{ ...UNITS_LINK, check: () => this.#units() }]),
      ...(kind?.links ?? []).map(({ name, about }) => ({ name, about, check: () => this.#kindLink(name) })),
    ];
  }

  /** The kind of the receipt, and the work that it names. */
  #work(): { kind: Kind; work: Work<unknown> } {
    const read = this.#read;
    const { receiptId, taskId, nodeId, specDigest, kind } = this.file.receipt;
    if (!read.kind) throw new Open(unknownKind(kind));
    const work = {
      assignmentId: fromHex(receiptId),
      taskId: fromHex(taskId),
      nodeId: fromHex(nodeId),
      specDigest: fromHex(specDigest),
      spec: read.spec,
    };
    return { kind: read.kind, work };
  }

  /** The work with its result. */
  #claim(): { kind: Kind; claim: Claim<unknown> } {
    if (!this.#result) throw new Open("the result was not read");
    const { kind, work } = this.#work();
    return { kind, claim: { ...work, output: this.#result, outputDigest: fromHex(this.file.receipt.resultDigest) } };
  }

  #specDigest(): string {
    checkSpecDigest(this.file.receipt, this.file.spec);
    return this.file.receipt.specDigest;
  }

  #specFields(): string {
    const { receipt, chain } = this.file;
    const read = this.#read;
    checkSpecFields(receipt, read, chain, this.#kinds);
    return `${read.kind!.title((read as { spec: unknown }).spec)}, ${receipt.units} units`;
  }

  #nodeSignature(): string {
    checkNodeSignature(this.file.receipt, this.file.signature);
    return `node ${this.file.receipt.nodeId}`;
  }

  #leaf(): string {
    const leaf = receiptLeaf(leafFields(this.file.receipt));
    if (leaf !== this.file.leaf) throw new Broken(`the receipt's fields make the leaf ${leaf}`);
    this.#leafHolds = true;
    return leaf;
  }

  #merkleProof(): string {
    const { batch, leaf } = this.file;
    if (!batch) throw new Open("no batch carries it yet");
    if (!verifyReceiptProof(batch.root, leaf, batch.proof)) throw new Broken("the proof does not lead to the root");
    // An inner node of the tree leads to the root as well.
    if (!this.#leafHolds) throw new Open("the proof leads to the root, but its leaf was not checked");
    return `stands in the tree of batch ${batch.id}`;
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
    const { file } = this;
    if (!read) {
      throw new Open(
        file.result.available ? "the result was not read" : "the coordinator keeps it no longer: compute it again",
      );
    }
    const { kind, work } = this.#work();
    const result = await asked(() => read(file, work, kind));
    const digest = toHex(sha256(result));
    if (digest !== file.receipt.resultDigest) {
      throw new Broken(`these ${result.length} bytes have the digest ${digest}`);
    }
    this.#result = result;
    return digest;
  }

  #units(): string {
    const { kind, claim } = this.#claim();
    const units = kind.units(claim.spec, claim.output);
    if (BigInt(this.file.receipt.units) !== units) throw new Broken(`the result is worth ${units} units`);
    return `the result is worth ${units} units`;
  }

  async #kindLink(name: string): Promise<string> {
    const { kind, claim } = this.#claim();
    const { link } = this.#sources;
    const { holds, detail } = await asked(() => (link ? link(name, claim, kind) : checkLink(kind, name, claim)));
    if (!holds) throw new Broken(detail);
    return detail;
  }

  #checksum(): string {
    if (!hasChecksum(this.file)) throw new Broken("the file was changed after it was written");
    return "the file is as it was written";
  }
}

/**
 * A receipt's links in the order in which {@link verifyReceipt} yields them: {@link LINKS}, and those of its kind as far as
 * the text can be read and `kinds` has the kind.
 */
export function linksOf(text: string, kinds: KindRegistry<Kind> = KINDS): readonly LinkDescription[] {
  return new Check(text, {}, kinds).steps.map(({ name, about }) => ({ name, about }));
}

/**
 * Checks a receipt's text link by link, in the order of {@link linksOf}, and yields each as it is known. After the first
 * broken link the others stay unchecked, and nobody is asked for facts any more. A receipt of a kind that is not in `kinds`
 * is not broken: what depends on the kind stays unchecked.
 *
 * @example
 * ```ts
 * import { readFile } from "node:fs/promises";
 * import { recompute } from "@proof-of-compute/proto/kinds";
 * import { verdictOf, verifyReceipt } from "@proof-of-compute/proto/verify";
 * import { readChainFacts } from "@proof-of-compute/proto/verify-chain";
 * import { JsonRpcProvider } from "ethers";
 *
 * const rpc = new JsonRpcProvider("https://erpc.apothem.network");
 * const links = await Array.fromAsync(
 *   verifyReceipt(await readFile("receipt.json", "utf8"), {
 *     chain: (where, batch) => readChainFacts(rpc, where, batch),
 *     result: (_file, work, kind) => recompute(kind, work),
 *   }),
 * );
 * console.log(verdictOf(links)); // "verified", "broken" or "unproven"
 * ```
 */
export async function* verifyReceipt(
  text: string,
  sources: Sources = {},
  kinds: KindRegistry<Kind> = KINDS,
): AsyncGenerator<CheckedLink, void> {
  let broken: string | undefined;
  for (const { name, check } of new Check(text, sources, kinds).steps) {
    if (broken) {
      yield { name, status: "unchecked", detail: `${broken} is broken` };
      continue;
    }
    try {
      yield { name, status: "ok", detail: await check() };
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
  const complete = LINKS.every((needed) => links.some(({ name }) => name === needed.name));
  const holds = links.every(({ name, status }) => status === "ok" || name === "transaction");
  return complete && holds ? "verified" : "unproven";
}
