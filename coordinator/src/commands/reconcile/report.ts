/** The comparison of `npm run reconcile`. */
import type { Address, Hex } from "@proof-of-compute/proto";
import type { Batch } from "../../domain/batch.ts";
import type { Receipt } from "../../domain/receipt.ts";
import type { Page, PageQuery } from "../../ports/pages.ts";
import type { Unbatched } from "../../ports/receipts.ts";
import type { Store } from "../../ports/store.ts";
import { readChainProgress } from "../../services/settlement/chain-progress.ts";
import type { ChainLedger, RecordedBatch } from "./chain.ts";

/** Items read at a time. */
const PAGE = 500;

/**
 * - `same`: root and units are the same.
 * - `on its way`: the store has closed the batch; settlement sends it, or waits for finality.
 * - `only in store`: the store recorded the batch, and the chain lacks it. Only a wiped chain leads to this; settlement sends
 *   it again.
 * - `only on chain`: the store has lost the batch, or never had it.
 * - `different`: the same id with another content.
 */
export type Verdict = "same" | "on its way" | "only in store" | "only on chain" | "different";

/** A batch on both sides. */
export interface BatchRow {
  readonly id: number;
  readonly store?: Batch;
  readonly chain?: RecordedBatch;
  readonly verdict: Verdict;
}

/** A wallet on both sides, in units. */
export interface WalletRow {
  readonly wallet: Address;
  readonly chain: bigint;
  /** In stored batches that a final block holds. */
  readonly store: bigint;
  /** Credited by the contract's owner, outside of batches. */
  readonly byHand: bigint;
  /** Units on the chain that the store cannot explain; negative: units in the store that the chain lacks. */
  readonly difference: bigint;
}

/** The result of the comparison. */
export interface Report {
  readonly block: number;
  readonly batches: readonly BatchRow[];
  readonly wallets: readonly WalletRow[];
  readonly unbatched: Unbatched;
  readonly quarantined: readonly Receipt[];
  /** Whether both sides agree; batches on their way and unbatched receipts do not count as differences. */
  readonly agree: boolean;
}

/** Id of the newest recorded batch; 0 if there is none. */
export async function newestRecorded(store: Store): Promise<number> {
  return (await readChainProgress(store, Number.POSITIVE_INFINITY)).recorded?.id ?? 0;
}

/**
 * Reads the store and compares it with the chain's ledger. The caller read `recordedBefore`, the {@link newestRecorded}
 * batch, before the ledger: a coordinator may have recorded later batches in between.
 */
export async function compare(store: Store, ledger: ChainLedger, recordedBefore: number): Promise<Report> {
  const stored = (await readAll((query) => store.batches(query))).reverse();
  const batches: BatchRow[] = [];
  for (let id = 1; id <= Math.max(stored.length, ledger.batches.length); id++) {
    const [ours, theirs] = [stored[id - 1], ledger.batches[id - 1]];
    batches.push({
      id,
      ...(ours && { store: ours }),
      ...(theirs && { chain: theirs }),
      verdict: judge(ours, theirs, recordedBefore),
    });
  }
  const wallets = compareWallets(batches, ledger);
  const agree =
    batches.every(({ verdict }) => verdict === "same" || verdict === "on its way") &&
    wallets.every(({ difference }) => difference === 0n);
  const quarantined = await readAll((query) => store.receipts({ ...query, quarantined: true }));
  return { block: ledger.block, batches, wallets, unbatched: await store.unbatched(), quarantined, agree };
}

/** Reads all pages of a list. */
export async function readAll<T>(list: (query: PageQuery) => Promise<Page<T>>): Promise<T[]> {
  const items: T[] = [];
  let cursor: string | undefined;
  do {
    const page = await list({ limit: PAGE, ...(cursor !== undefined && { cursor }) });
    items.push(...page.items);
    cursor = page.cursor;
  } while (cursor !== undefined);
  return items;
}

function judge(ours: Batch | undefined, theirs: RecordedBatch | undefined, recordedBefore: number): Verdict {
  if (!ours) return "only on chain";
  if (!theirs) return ours.state === "recorded" && ours.id <= recordedBefore ? "only in store" : "on its way";
  return ours.root === theirs.root && ours.units === theirs.units ? "same" : "different";
}

function compareWallets(batches: readonly BatchRow[], ledger: ChainLedger): WalletRow[] {
  const sums = new Map<Address, bigint>();
  for (const { store, chain, verdict } of batches) {
    const counts = store && (verdict === "only in store" || chain !== undefined);
    for (const { provider, units } of counts ? store.credits : []) {
      sums.set(provider, (sums.get(provider) ?? 0n) + units);
    }
  }
  const wallets = new Set([...ledger.wallets.keys(), ...sums.keys()]);
  return [...wallets].toSorted().map((wallet) => {
    const { units: chain, byHand } = ledger.wallets.get(wallet) ?? { units: 0n, byHand: 0n };
    const store = sums.get(wallet) ?? 0n;
    return { wallet, chain, store, byHand, difference: chain - byHand - store };
  });
}

/** The most rows of a table that are printed in full; a longer table shows only rows with a difference. */
const SHOWN = 40;

/** The report as lines for people; `all` includes every row that agrees. */
export function render(report: Report, all: boolean): string[] {
  const { batches, wallets, unbatched, quarantined } = report;
  const sum = (parts: readonly bigint[]) => parts.reduce((total, part) => total + part, 0n);
  const lines = table(
    ["batch", "in the store", "units", "root", "on the chain", "units", "wallets", "root", "transaction", "verdict"],
    selected(batches, all, ({ verdict }) => verdict !== "same").map(({ id, store, chain, verdict }) => [
      `${id}`,
      store ? `${store.state}${store.imported ? ", imported" : ""}` : "-",
      store ? `${store.units}` : "-",
      store ? short(store.root) : "-",
      chain ? `block ${chain.block}` : "-",
      chain ? `${chain.units}` : "-",
      chain ? `${chain.credits.length}` : "-",
      chain ? short(chain.root) : "-",
      chain ? chain.transaction : "-",
      verdict,
    ]),
  );
  lines.push(...omitted(batches, all, ({ verdict }) => verdict !== "same"), "");
  lines.push(
    ...table(
      ["wallet", "units on the chain", "by hand", "in the store", "difference"],
      selected(wallets, all, ({ difference }) => difference !== 0n).map((row) => [
        row.wallet,
        `${row.chain}`,
        `${row.byHand}`,
        `${row.store}`,
        `${row.difference}`,
      ]),
    ),
    ...omitted(wallets, all, ({ difference }) => difference !== 0n),
    `in all: ${sum(wallets.map(({ chain }) => chain))} units on the chain, ${sum(wallets.map(({ store }) => store))} in the store, ${sum(wallets.map(({ byHand }) => byHand))} by hand`,
    "",
    `receipts without a batch: ${unbatched.count}`,
    `receipts in quarantine: ${quarantined.length}, of ${sum(quarantined.map(({ units }) => units))} units`,
  );
  if (quarantined.length > 0) {
    const rows = all ? quarantined : quarantined.slice(0, SHOWN);
    lines.push(
      ...table(
        ["receipt", "wallet", "units", "accepted at"],
        rows.map(({ receiptId, provider, units, acceptedAt }) => [
          receiptId,
          provider,
          `${units}`,
          new Date(acceptedAt).toISOString(),
        ]),
      ),
    );
    if (rows.length < quarantined.length) lines.push(`… and ${quarantined.length - rows.length} more (--all)`);
  }
  return lines;
}

/** The report as one JSON document; units are decimal strings. */
export function toJson(report: Report): string {
  return JSON.stringify(report, (_, value) => (typeof value === "bigint" ? value.toString() : value));
}

function selected<T>(rows: readonly T[], all: boolean, matters: (row: T) => boolean): readonly T[] {
  return all || rows.length <= SHOWN ? rows : rows.filter(matters);
}

function omitted<T>(rows: readonly T[], all: boolean, matters: (row: T) => boolean): string[] {
  const left = rows.length - selected(rows, all, matters).length;
  return left === 0 ? [] : [`… and ${left} that agree (--all)`];
}

function table(head: readonly string[], rows: readonly (readonly string[])[]): string[] {
  const lines = [head, ...rows];
  const widths = head.map((_, column) => Math.max(...lines.map((line) => line[column]!.length)));
  return lines.map((line) =>
    line
      .map((cell, column) => cell.padEnd(widths[column]!))
      .join("  ")
      .trimEnd(),
  );
}

function short(hash: Hex): string {
  return `${hash.slice(0, 10)}…`;
}
