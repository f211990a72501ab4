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
import { awaitFact, Broken, outcomeOf, Unchecked } from "./outcome.ts";

export * from "./format.ts";
export { LINKS, type LinkDescription } from "./links.ts";

/** One checked link. `unchecked` does not say whether it holds; `detail` is for people. */
export interface CheckedLink {
  /** One of {@link linksOf}. */
  readonly name: string;
  readonly status: "ok" | "failed" | "unchecked";
  readonly detail: string;
}

/** Facts of the chain, read by the caller at one final block. */
export interface ChainFacts {
  /** Id of the chain that answered. */
  readonly chainId: number;
  /** Number of the final block. */
  readonly block: number;
  /** `rootOf(batch)` of the contract at that block; null where it holds none. */
  readonly root: Hex | null;
  /** The receipt's transaction: its block, and the contract's BatchRecorded events in it. Null when it does not exist. */
  readonly transaction?: {
    readonly block: number;
    readonly recorded: readonly { readonly batchId: number; readonly root: Hex }[];
  } | null;
}

/**
 * Sources of the facts that the file does not contain. This module never touches a network itself. When a source is missing or
 * throws, its links stay unchecked, with the error's message.
 */
export interface Sources {
  /** The contract whose units count, if the caller knows it: a receipt for another one is broken. */
  readonly contract?: Hex;
  /** Reads the contract. Called only if no earlier link is broken. */
  chain?(
    where: { readonly chainId: number; readonly contract: Hex },
    batch: { readonly id: number; readonly transaction: Hex | undefined },
  ): ChainFacts | Promise<ChainFacts>;
  /** The result's bytes: from a file, from `file.result.url`, or from `recompute(kind, work)`. */
  result?(file: ReceiptFile, work: Work<unknown>, kind: Kind): Uint8Array | Promise<Uint8Array>;
  /** Checks one of the kind's links, for callers that do so off this thread. */
  link?(name: string, claim: Claim<unknown>, kind: Kind): Finding | Promise<Finding>;
}

/** A link with its check, which returns the detail of a link that holds and throws otherwise. */
interface Step extends LinkDescription {
  check(): string | Promise<string>;
}

/** Runs `read` now, and keeps its error for later. */
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

/** The check of one receipt. Later links use what earlier ones found. */
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

  /** The receipt's kind and work. */
  #work(): { kind: Kind; work: Work<unknown> } {
    const read = this.#read;
    const { receiptId, taskId, nodeId, specDigest, kind } = this.file.receipt;
    if (!read.kind) throw new Unchecked(unknownKind(kind));
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
    if (!this.#result) throw new Unchecked("the result was not read");
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
    if (!batch) throw new Unchecked("no batch carries it yet");
    if (!verifyReceiptProof(batch.root, leaf, batch.proof)) throw new Broken("the proof does not lead to the root");
    // An inner node of the tree leads to the root as well.
    if (!this.#leafHolds) throw new Unchecked("the proof leads to the root, but its leaf was not checked");
    return `stands in the tree of batch ${batch.id}`;
  }

  async #rootOnChain(): Promise<string> {
    const { chain, batch } = this.file;
    if (!batch) throw new Unchecked("no batch carries it yet");
    if (!chain) throw new Unchecked("the receipt names no chain");
    const { id, root, recorded } = batch;
    const expected = this.#sources.contract;
    if (expected !== undefined && expected !== chain.contract) {
      throw new Broken(`it is for the contract ${chain.contract}, not for ${expected}`);
    }
    const read = this.#sources.chain;
    if (!read) throw new Unchecked("no chain was read");
    const facts = await awaitFact(() => read(chain, { id, transaction: recorded?.transaction }));
    if (facts.chainId !== chain.chainId) throw new Unchecked(`chain ${facts.chainId} answered, not ${chain.chainId}`);
    this.#facts = facts;
    if (facts.root === null) {
      // A claim to be recorded can be refuted. A receipt on its way to the chain cannot.
      const refuted = recorded !== undefined && facts.block >= recorded.block;
      throw new (refuted ? Broken : Unchecked)(`the contract holds no batch ${id} at the final block ${facts.block}`);
    }
    if (facts.root !== root) throw new Broken(`the contract holds the root ${facts.root} for batch ${id}`);
    return `contract ${chain.contract} on chain ${chain.chainId} holds it for batch ${id} at the final block ${facts.block}`;
  }

  #transaction(): string {
    const { batch } = this.file;
    if (!batch?.recorded) throw new Unchecked("the receipt names none");
    if (this.#facts?.transaction === undefined) throw new Unchecked("the chain was not read");
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
      throw new Unchecked(
        file.result.available ? "the result was not read" : "the coordinator no longer keeps the result: recompute it",
      );
    }
    const { kind, work } = this.#work();
    const result = await awaitFact(() => read(file, work, kind));
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
    const { holds, detail } = await awaitFact(() => (link ? link(name, claim, kind) : checkLink(kind, name, claim)));
    if (!holds) throw new Broken(detail);
    return detail;
  }

  #checksum(): string {
    if (!hasChecksum(this.file)) throw new Broken("the file was changed after it was written");
    return "the file is as it was written";
  }
}

/**
 * A receipt's links in the order of {@link verifyReceipt}: {@link LINKS}, and those of its kind if the text is a receipt and
 * `kinds` has the kind.
 */
export function linksOf(text: string, kinds: KindRegistry<Kind> = KINDS): readonly LinkDescription[] {
  return new Check(text, {}, kinds).steps.map(({ name, about }) => ({ name, about }));
}

/**
 * Checks a receipt link by link, in the order of {@link linksOf}, and yields each link once it is checked. After the first broken
 * link the others stay unchecked, and no source is called. A kind that is not in `kinds` breaks nothing: the links that
 * depend on it stay unchecked.
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
 * The verdict on a receipt: `verified` if all links hold, `broken` if one does not, else `unproven`. A verified receipt may lack
 * only the transaction, which says where the root was recorded, not whether.
 */
export function verdictOf(links: readonly CheckedLink[]): "verified" | "broken" | "unproven" {
  if (links.some(({ status }) => status === "failed")) return "broken";
  const complete = LINKS.every((needed) => links.some(({ name }) => name === needed.name));
  const holds = links.every(({ name, status }) => status === "ok" || name === "transaction");
  return complete && holds ? "verified" : "unproven";
}
