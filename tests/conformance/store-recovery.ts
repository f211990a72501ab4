import type { Receipt } from "@proof-of-compute/coordinator/domain/receipt";
import { expect, test } from "vitest";
import { aBatch, BOB, hexOf } from "./fixtures.ts";
import { readAll, snapshot } from "./snapshot.ts";
import type { MakeStore } from "./store.ts";
import { accepted } from "./store-settling.ts";

/** Repairs of a store after a restored backup: quarantine, imported batches, withdrawn batches. */
export function describeRecovery(make: MakeStore): void {
  test("keeps receipts in quarantine out of every batch until they are released", async () => {
    const { store, reopen } = await make();
    const receipts = await accepted(store, 6, (n) => ({ acceptedAt: 100 + n, units: 10n ** BigInt(n) }));
    const [carried, a, b, c, d, e] = receipts as [Receipt, Receipt, Receipt, Receipt, Receipt, Receipt];
    await store.insertBatch(aBatch(1, [carried]));
    expect(await store.quarantineReceipts(101)).toBe(0);
    expect(await store.quarantineReceipts(104)).toBe(3);
    expect(await store.quarantineReceipts(104)).toBe(0);
    const held = [a, b, c].map((receipt) => ({ ...receipt, quarantined: true as const }));
    for (const read of [async () => store, reopen]) {
      const reader = await read();
      expect(await reader.receipt(b.receiptId)).toEqual(held[1]);
      expect(await reader.receipt(d.receiptId)).toEqual(d);
      expect(await readAll((query) => reader.receipts({ ...query, quarantined: true }), 2)).toEqual(
        held.toSorted((x, y) => (x.receiptId < y.receiptId ? -1 : 1)),
      );
      expect(await readAll((query) => reader.receipts(query))).toHaveLength(6);
      expect(await reader.unbatchedReceipts(10)).toEqual([d, e]);
      expect(await reader.unbatched()).toEqual({ count: 2, oldestAcceptedAt: 104 });
      expect(await reader.totals()).toMatchObject({
        receipts: 6,
        unbatched: { count: 2, oldestAcceptedAt: 104 },
        quarantined: { count: 3, units: 1_110n },
        units: { verified: 111_111n },
      });
    }
  });

  test("closes no batch with a receipt in quarantine, and changes nothing", async () => {
    const { store } = await make();
    const [held, free] = (await accepted(store, 2, (n) => ({ acceptedAt: 100 + n }))) as [Receipt, Receipt];
    await store.quarantineReceipts(101);
    const before = await snapshot(store);
    expect(await store.insertBatch(aBatch(1, [free, held]))).toBe(false);
    expect(await snapshot(store)).toEqual(before);
    await store.releaseReceipts([held.receiptId, free.receiptId, hexOf(404)]);
    expect(await store.receipt(held.receiptId)).toEqual(held);
    expect(await store.totals()).toMatchObject({ unbatched: { count: 2 }, quarantined: { count: 0, units: 0n } });
    expect(await store.insertBatch(aBatch(1, [free, held]))).toBe(true);
    await store.releaseReceipts([held.receiptId]);
    expect(await store.receipt(held.receiptId)).toEqual({ ...held, batchId: 1 });
    expect(await store.unbatched()).toEqual({ count: 0 });
  });

  test("imports batches that only the chain has", async () => {
    const { store, reopen } = await make();
    const [receipt] = (await accepted(store, 1)) as [Receipt];
    const imported = aBatch(1, [], {
      imported: true,
      state: "recorded",
      units: 900n,
      credits: [{ provider: BOB, units: 900n }],
      transaction: hexOf(7, 32),
      block: 12,
    });
    expect(await store.insertBatch({ ...imported, id: 2 })).toBe(false);
    expect(await store.insertBatch(imported)).toBe(true);
    expect(await store.insertBatch(imported)).toBe(false);
    expect(await store.insertBatch(aBatch(2, [receipt]))).toBe(true);
    expect(await store.withdrawBatch(1)).toBe(false);
    for (const read of [async () => store, reopen]) {
      const reader = await read();
      expect(await reader.batch(1)).toEqual(imported);
      expect((await reader.batches({ limit: 5 })).items[1]).toEqual(imported);
      expect(await reader.receipts({ limit: 5, batchId: 1 })).toEqual({ items: [] });
      expect(await reader.totals()).toMatchObject({ receipts: 1, unbatched: { count: 0 }, units: { recorded: 900n } });
    }
  });

  test("withdraws the last batch while it is closed, and frees its receipts", async () => {
    const { store, reopen } = await make();
    const receipts = await accepted(store, 4, (n) => ({ acceptedAt: 100 + n }));
    const [a, b, c, d] = receipts as [Receipt, Receipt, Receipt, Receipt];
    await store.insertBatch(aBatch(1, [a]));
    await store.insertBatch(aBatch(2, [b, c]));
    for (const id of [0, 1, 3]) expect(await store.withdrawBatch(id)).toBe(false);
    await store.updateBatch(2, { state: "included", transaction: hexOf(7, 32), block: 12 });
    expect(await store.withdrawBatch(2)).toBe(false);
    expect(await store.receipt(b.receiptId)).toEqual({ ...b, batchId: 2 });
    await store.updateBatch(2, { state: "closed" });
    expect(await store.withdrawBatch(2)).toBe(true);
    expect(await store.withdrawBatch(2)).toBe(false);
    for (const read of [async () => store, reopen]) {
      const reader = await read();
      expect(await reader.batch(2)).toBeNull();
      expect((await reader.batches({ limit: 5 })).items.map(({ id }) => id)).toEqual([1]);
      expect(await reader.unbatchedReceipts(5)).toEqual([b, c, d]);
      expect(await reader.unbatched()).toEqual({ count: 3, oldestAcceptedAt: 101 });
      expect(await reader.receipts({ limit: 5, batchId: 2 })).toEqual({ items: [] });
    }
  });

  test("accepts another batch in place of a withdrawn one", async () => {
    const { store } = await make();
    const [a, b] = (await accepted(store, 2, (n) => ({ acceptedAt: 100 + n }))) as [Receipt, Receipt];
    await store.insertBatch(aBatch(1, [a, b]));
    await store.withdrawBatch(1);
    await store.quarantineReceipts(101);
    const imported = aBatch(1, [], { imported: true, state: "recorded" });
    expect(await store.insertBatch(imported)).toBe(true);
    expect(await store.insertBatch(aBatch(2, [b]))).toBe(true);
    expect(await store.batch(1)).toEqual(imported);
    expect(await store.receipt(a.receiptId)).toEqual({ ...a, quarantined: true });
    expect(await store.receipt(b.receiptId)).toEqual({ ...b, batchId: 2 });
  });
}
