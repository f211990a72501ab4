import { receiptTree, type TaskKindName } from "@proof-of-compute/proto";
import { aVerifiedTask, BOB, hexOf } from "@proof-of-compute/tests/conformance/fixtures";
import { beforeEach, expect, test } from "vitest";
import { MemoryStore } from "../../adapters/memory/store.ts";
import { leafOf } from "../../domain/batch.ts";
import type { Receipt } from "../../domain/receipt.ts";
import type { ChainLedger } from "./chain.ts";
import { CannotFix, fix } from "./fix.ts";

let store: MemoryStore;
let lines: string[];

beforeEach(async () => {
  store = new MemoryStore();
  await store.start();
  lines = [];
});

async function accepted(n: number, change: Partial<Receipt> = {}): Promise<Receipt> {
  const { queued, running, receipt, verified } = aVerifiedTask(n, change);
  await store.insertTask(queued);
  await store.saveTask(running);
  await store.saveTask(verified, { receipt });
  return receipt;
}

/** The chain holds one batch of these receipts, which the store has lost. */
function ledgerOf(receipts: readonly Receipt[]): ChainLedger {
  const units = receipts.reduce((sum, receipt) => sum + receipt.units, 0n);
  const { root } = receiptTree(receipts.map(leafOf));
  const batch = { id: 1, root, units, credits: [{ provider: BOB, units }], transaction: hexOf(9, 32), block: 7 };
  return { block: 9, batches: [batch], wallets: new Map([[BOB, { units, byHand: 0n }]]) };
}

const mend = (ledger: ChainLedger) =>
  fix({ store, timeOf: async () => 5_000, say: (line) => lines.push(line) }, { clockMarginMs: 0 }, ledger);

test("a lost batch is found again by the root of its receipts", async () => {
  const receipts = [await accepted(1), await accepted(2)];
  await mend(ledgerOf(receipts));
  expect(await store.batch(1)).toMatchObject({
    state: "recorded",
    receiptIds: receipts.map(({ receiptId }) => receiptId),
  });
  expect(lines).toEqual(["batch 1: found its 2 receipts, which make its root; stored as it was"]);
});

test("a receipt of a kind that this version does not know stops it before anything changes", async () => {
  const ledger = ledgerOf([await accepted(1)]);
  await accepted(2, { kind: "made-up" as TaskKindName });
  await expect(mend(ledger)).rejects.toThrow(CannotFix);
  await expect(mend(ledger)).rejects.toThrow(/kind made-up.*newest version/);
  expect([await store.batch(1), (await store.unbatched()).count, lines]).toEqual([null, 2, []]);
});
