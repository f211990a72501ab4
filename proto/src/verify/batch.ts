import type { Address } from "../address.ts";
import type { Hex } from "../bytes.ts";
import { fromHex } from "../bytes.ts";
import { KINDS } from "../kinds/index.ts";
import type { Kind } from "../kinds/kind.ts";
import type { KindRegistry } from "../kinds/registry.ts";
import { readTaskSpec } from "../kinds/task-spec.ts";
import { reasonOf } from "../reason.ts";
import { type ReceiptLeaf, receiptTree } from "../receipt.ts";
import { checkNodeSignature, checkSpecDigest, checkSpecFields } from "./checks.ts";
import { leafFields, type ReceiptFile, readBatchLine } from "./format.ts";
import { awaitFact, Broken, outcomeOf, Unchecked } from "./outcome.ts";

/**
 * The links of a batch, in the order in which they are checked:
 * - `receipts`: every line is a canonical receipt of this batch that its spec agrees with and its node signed.
 * - `duplicates`: no receipt occurs twice.
 * - `root on chain`: their leaves make the root that the contract holds at a final block.
 * - `credits`: the transaction credited each wallet with the sum of its receipts.
 */
export const BATCH_LINKS = ["receipts", "duplicates", "root on chain", "credits"] as const;

/** One checked link of a batch. */
export interface BatchLink {
  readonly name: (typeof BATCH_LINKS)[number];
  readonly status: "ok" | "failed" | "unchecked";
  readonly detail: string;
}

/** Sources of the facts that the list does not contain. A link whose source is missing or throws stays unchecked. */
export interface BatchSources {
  /** `rootOf(batch)` of the contract at a final block, null where it holds none, and that block's number. */
  root?(): Promise<{ readonly root: Hex | null; readonly block: number }>;
  /** The credits in the transaction that recorded the batch. */
  credits?(): Promise<readonly { readonly provider: Address; readonly units: bigint }[]>;
}

/**
 * Checks the list of a batch, given as lines without line feeds. When the lines end with an error, every link stays unchecked.
 * A batch whose links are all `ok` credits exactly what its receipts are worth. Pass the same `seen` for several batches to
 * find a receipt that is in two of them.
 */
export async function* verifyBatch(
  lines: AsyncIterable<string> | Iterable<string>,
  batch: { readonly id: number; readonly chain: NonNullable<ReceiptFile["chain"]> },
  sources: BatchSources,
  seen: Set<Hex> = new Set(),
  kinds: KindRegistry<Kind> = KINDS,
): AsyncGenerator<BatchLink, void> {
  const receipts: CheckedLine[] = [];
  let whole = false;
  const checks: Record<BatchLink["name"], () => Promise<string>> = {
    receipts: async () => {
      for await (const line of listed(lines)) {
        try {
          receipts.push(checkLine(line, batch, kinds));
        } catch (error) {
          throw new Broken(`line ${receipts.length + 1}: ${outcomeOf(error).detail}`);
        }
      }
      whole = true;
      if (receipts.length === 0) throw new Unchecked("the batch is not published: count its units as unproven");
      const unchecked = countBy(receipts.flatMap((receipt) => receipt.unchecked ?? []));
      if (unchecked.size > 0) {
        throw new Unchecked(
          Array.from(unchecked, ([reason, count]) => `${counted(count, "receipt")}: ${reason}`).join("; "),
        );
      }
      return `${counted(receipts.length, "receipt")}, each signed by its node`;
    },
    duplicates: async () => {
      for (const { receiptId } of receipts) {
        if (seen.has(receiptId)) throw new Broken(`receipt ${receiptId} occurs twice`);
        seen.add(receiptId);
      }
      return "each occurs once";
    },
    "root on chain": async () => {
      if (!sources.root) throw new Unchecked("no chain was read");
      const read = sources.root;
      const { root, block } = await awaitFact(() => read());
      if (root === null) throw new Unchecked(`the contract holds no batch ${batch.id} at the final block ${block}`);
      const leaves = receipts.flatMap(({ leaf }) => leaf ?? []);
      if (leaves.length < receipts.length) throw new Unchecked("not every leaf could be made");
      const own = receiptTree(leaves).root;
      if (own !== root) throw new Broken(`the receipts make the root ${own}, the contract holds ${root}`);
      return `${root} at the final block ${block}`;
    },
    credits: async () => {
      if (!sources.credits) throw new Unchecked("the transaction was not read");
      const read = sources.credits;
      const credited = sums(await awaitFact(() => read()));
      const earned = sums(receipts);
      for (const wallet of new Set([...credited.keys(), ...earned.keys()])) {
        const [was, is] = [credited.get(wallet) ?? 0n, earned.get(wallet) ?? 0n];
        if (was !== is) throw new Broken(`${wallet} was credited ${was} units, its receipts are worth ${is}`);
      }
      const total = [...earned.values()].reduce((sum, units) => sum + units, 0n);
      return `${total} units to ${counted(earned.size, "wallet")}`;
    },
  };
  let broken: string | undefined;
  for (const name of BATCH_LINKS) {
    if (broken) {
      yield { name, status: "unchecked", detail: broken };
      continue;
    }
    try {
      yield { name, status: "ok", detail: await checks[name]() };
    } catch (error) {
      const outcome = outcomeOf(error);
      if (outcome.status === "failed") broken = `${name} is broken`;
      else if (!whole) broken = "the list is incomplete";
      else if (receipts.length === 0) broken = "there are no receipts";
      yield { name, ...outcome };
    }
  }
}

/** An incomplete list proves nothing, and breaks nothing. */
async function* listed(lines: AsyncIterable<string> | Iterable<string>): AsyncGenerator<string> {
  try {
    yield* lines;
  } catch (cause) {
    throw new Unchecked(reasonOf(cause), { cause });
  }
}

/** A line that is not broken. */
interface CheckedLine {
  readonly receiptId: Hex;
  readonly provider: Address;
  readonly units: bigint;
  /** Undefined where this version has no number for the receipt's kind or assurance. */
  readonly leaf: ReceiptLeaf | undefined;
  /** Why a part of the line could not be checked. */
  readonly unchecked: string | undefined;
}

/** Throws for a broken line. */
function checkLine(
  line: string,
  batch: { readonly id: number; readonly chain: NonNullable<ReceiptFile["chain"]> },
  kinds: KindRegistry<Kind>,
): CheckedLine {
  const { batchId, signature, spec, ...receipt } = readBatchLine(line);
  if (batchId !== batch.id) throw new Broken(`it is of batch ${batchId}`);
  checkSpecDigest(receipt, spec);
  checkNodeSignature(receipt, signature);
  const { receiptId, provider, units } = receipt;
  const [leaf, noLeaf] = tryCheck(() => leafFields(receipt));
  const [, unchecked] = tryCheck(() => {
    const read = readTaskSpec(fromHex(spec), kinds);
    checkSpecFields(receipt, read, batch.chain, kinds);
    if (read.kind && !read.kind.bounds(read.spec).unitsAreExact) {
      throw new Unchecked("only the result says how many units it is worth");
    }
  });
  return { receiptId, provider, units: BigInt(units), leaf, unchecked: unchecked ?? noLeaf };
}

/** The result of a check, or why it stays unchecked. Throws when it is broken. */
function tryCheck<T>(check: () => T): [T, undefined] | [undefined, string] {
  try {
    return [check(), undefined];
  } catch (error) {
    if (error instanceof Unchecked) return [undefined, error.message];
    throw error;
  }
}

function countBy(reasons: readonly string[]): Map<string, number> {
  const counts = new Map<string, number>();
  for (const reason of reasons) counts.set(reason, (counts.get(reason) ?? 0) + 1);
  return counts;
}

function counted(count: number, what: string): string {
  return `${count} ${what}${count === 1 ? "" : "s"}`;
}

function sums(credits: readonly { readonly provider: Address; readonly units: bigint }[]): Map<Address, bigint> {
  const totals = new Map<Address, bigint>();
  for (const { provider, units } of credits) totals.set(provider, (totals.get(provider) ?? 0n) + units);
  return totals;
}
