import type { Receipt } from "@proof-of-compute/coordinator/domain/receipt";
import type { Store } from "@proof-of-compute/coordinator/ports/store";
import type { TaskKindName } from "@proof-of-compute/proto";
import { expect, test } from "vitest";
import { aBatch, aVerifiedTask, BOB, CAROL, hexOf } from "./fixtures.ts";
import { readAll, snapshot } from "./snapshot.ts";
import type { MakeStore } from "./store.ts";

/** Stores verified tasks with a receipt each, and returns the receipts, oldest first. */
export async function accepted(store: Store, count: number, change: (n: number) => Partial<Receipt> = () => ({})) {
  const tasks = Array.from({ length: count }, (_, n) => aVerifiedTask(n, change(n)));
  await Promise.all(
    tasks.map(async ({ queued, running, receipt, verified }) => {
      await store.insertTask(queued);
      await store.saveTask(running);
      await store.saveTask(verified, { receipt });
    }),
  );
  return tasks.map(({ receipt }) => receipt);
}

const byId = (receipts: readonly Receipt[]) => receipts.toSorted((a, b) => (a.receiptId < b.receiptId ? -1 : 1));

/** Receipts, batches, and their sums. */
export function describeSettling(make: MakeStore): void {
  test("lists receipts by id, of a provider and in a batch", async () => {
    const { store } = await make();
    const receipts = await accepted(store, 20, (n) => ({ provider: n % 3 ? BOB : CAROL }));
    const carried = receipts.slice(0, 9);
    await store.insertBatch(aBatch(1, carried));
    const stamped = receipts.map((receipt, n) => (n < 9 ? { ...receipt, batchId: 1 } : receipt));
    expect(await readAll((query) => store.receipts(query))).toEqual(byId(stamped));
    expect(await readAll((query) => store.receipts({ ...query, batchId: 1 }), 1)).toEqual(byId(stamped.slice(0, 9)));
    const ofCarol = byId(stamped).filter((receipt) => receipt.provider === CAROL);
    expect(await readAll((query) => store.receipts({ ...query, provider: CAROL }))).toEqual(ofCarol);
    expect(await readAll((query) => store.receipts({ ...query, provider: CAROL, batchId: 1 }))).toEqual(
      ofCarol.filter((receipt) => receipt.batchId === 1),
    );
    expect(await store.receipt(hexOf(404))).toBeNull();
  });

  test("returns receipts without a batch, oldest first", async () => {
    const { store } = await make();
    const receipts = await accepted(store, 10, (n) => ({ acceptedAt: 100 - n }));
    const oldestFirst = receipts.toReversed();
    expect(await store.unbatchedReceipts(100)).toEqual(oldestFirst);
    expect(await store.unbatchedReceipts(3)).toEqual(oldestFirst.slice(0, 3));
    await store.insertBatch(aBatch(1, oldestFirst.slice(0, 4)));
    expect(await store.unbatchedReceipts(100)).toEqual(oldestFirst.slice(4));
    expect(await store.unbatched()).toEqual({ count: 6, oldestAcceptedAt: 95 });
    expect((await store.totals()).unbatched).toEqual({ count: 6, oldestAcceptedAt: 95 });
  });

  test("returns receipts of some kinds only, whatever the kinds of the others", async () => {
    const { store } = await make();
    const newer = "made-up" as TaskKindName;
    const kinds = [newer, "matmul", "echo", newer, "matmul"] as const;
    const receipts = await accepted(store, kinds.length, (n) => ({ kind: kinds[n]!, acceptedAt: n }));
    const of = (...wanted: TaskKindName[]) => receipts.filter(({ kind }) => wanted.includes(kind));
    expect(await store.unbatchedReceipts(9, ["matmul", "echo"])).toEqual(of("matmul", "echo"));
    expect(await store.unbatchedReceipts(1, ["matmul", "echo"])).toEqual(of("matmul").slice(0, 1));
    expect(await store.unbatchedReceipts(9, [newer])).toEqual(of(newer));
    expect(await store.unbatchedReceipts(9, ["wasm"])).toEqual([]);
    expect(await store.unbatchedReceipts(9)).toEqual(receipts);
    await store.insertBatch(aBatch(1, of("matmul")));
    expect(await store.unbatchedReceipts(9, ["matmul", "echo"])).toEqual(of("echo"));
    expect(await store.unbatched()).toEqual({ count: 3, oldestAcceptedAt: 0 });
  });

  test("closes batches in order and stamps their receipts", async () => {
    const { store } = await make();
    const [a, b, c] = (await accepted(store, 3)) as [Receipt, Receipt, Receipt];
    expect(await store.batches({ limit: 1 })).toEqual({ items: [] });
    const first = aBatch(1, [c, a], { units: 2n ** 60n + 1n, credits: [{ provider: BOB, units: 2n ** 60n + 1n }] });
    expect(await store.insertBatch(first)).toBe(true);
    expect(await store.insertBatch(aBatch(2, [b]))).toBe(true);
    expect(await store.batch(1)).toEqual(first);
    expect(await store.batch(2)).toEqual(aBatch(2, [b]));
    expect((await store.batches({ limit: 1 })).items).toEqual([
      aBatch(2, [], { units: b.units, credits: [{ provider: BOB, units: b.units }] }),
    ]);
    expect(await store.receipt(c.receiptId)).toEqual({ ...c, batchId: 1 });
    expect(await store.receipt(b.receiptId)).toEqual({ ...b, batchId: 2 });
    expect(await store.batch(3)).toBeNull();
  });

  test.each([
    ["whose id is taken", 1, ["free"]],
    ["whose id leaves a gap", 3, ["free"]],
    ["with a receipt that another carries", 2, ["free", "stamped"]],
    ["with a receipt that is unknown", 2, ["free", "unknown"]],
    ["with the same receipt twice", 2, ["free", "free"]],
  ] as const)("closes no batch %s, and changes nothing", async (_, id, content) => {
    const { store } = await make();
    const [stamped, free] = (await accepted(store, 2)) as [Receipt, Receipt];
    await store.insertBatch(aBatch(1, [stamped]));
    const before = await snapshot(store);
    const receipts = { free, stamped, unknown: aVerifiedTask(404).receipt };
    const batch = aBatch(
      id,
      content.map((name) => receipts[name]),
    );
    expect(await store.insertBatch(batch)).toBe(false);
    expect(await snapshot(store)).toEqual(before);
  });

  test("lets one of two concurrent closers of a batch win", async () => {
    const { store } = await make();
    const receipts = await accepted(store, 4);
    const closers = [receipts.slice(0, 2), receipts.slice(2), receipts];
    const outcomes = await Promise.all(closers.map((content) => store.insertBatch(aBatch(1, content))));
    expect(outcomes.filter(Boolean)).toHaveLength(1);
    const { receiptIds } = (await store.batch(1))!;
    expect(receiptIds).toEqual(closers[outcomes.indexOf(true)]!.map(({ receiptId }) => receiptId));
    expect(await store.unbatched()).toMatchObject({ count: 4 - receiptIds.length });
  });

  test("updates the state of a batch, and keeps its content", async () => {
    const { store } = await make();
    const [receipt] = (await accepted(store, 1)) as [Receipt];
    const batch = aBatch(1, [receipt]);
    await store.insertBatch(batch);
    const sent = { transaction: hexOf(7, 32), block: 12 };
    await store.updateBatch(1, { state: "included", ...sent });
    expect(await store.batch(1)).toEqual({ ...batch, state: "included", ...sent });
    expect((await store.totals()).units.recorded).toBe(0n);
    await store.updateBatch(1, { state: "recorded" });
    expect(await store.batch(1)).toEqual({ ...batch, state: "recorded", ...sent });
    expect((await store.totals()).units.recorded).toBe(batch.units);
    await store.updateBatch(1, { state: "included", block: 13 });
    expect(await store.batch(1)).toEqual({ ...batch, state: "included", ...sent, block: 13 });
    await store.updateBatch(1, { state: "closed" });
    expect(await store.batch(1)).toEqual({ ...batch, transaction: sent.transaction });
    expect((await store.totals()).units.recorded).toBe(0n);
    await expect(store.updateBatch(2, { state: "closed" })).rejects.toMatchObject({ code: "NOT_FOUND" });
  });

  test("updates a batch only in the expected state", async () => {
    const { store } = await make();
    const batch = aBatch(1, await accepted(store, 1));
    await store.insertBatch(batch);
    expect(await store.updateBatch(1, { state: "recorded", block: 12 }, "closed")).toBe(true);
    for (const from of ["closed", "included"] as const) {
      expect(await store.updateBatch(1, { state: "closed", transaction: hexOf(7, 32) }, from)).toBe(false);
    }
    expect(await store.batch(1)).toEqual({ ...batch, state: "recorded", block: 12 });
    expect((await store.totals()).units.recorded).toBe(batch.units);
    expect(await store.updateBatch(1, { state: "closed" })).toBe(true);
    await expect(store.updateBatch(2, { state: "closed" }, "closed")).rejects.toMatchObject({ code: "NOT_FOUND" });
  });

  test("lists batches newest first without their receipts", async () => {
    const { store } = await make();
    const receipts = await accepted(store, 5);
    const all = receipts.map((receipt, n) => aBatch(n + 1, [receipt]));
    for (const batch of all) await store.insertBatch(batch);
    await store.updateBatch(1, { state: "recorded" });
    await store.updateBatch(3, { state: "recorded" });
    await store.updateBatch(4, { state: "included" });
    const listed = await readAll((query) => store.batches(query), 2);
    expect(listed.map(({ id, receiptIds }) => [id, receiptIds])).toEqual([5, 4, 3, 2, 1].map((id) => [id, []]));
    expect(listed[0]).toEqual({ ...all[4]!, receiptIds: [] });
    expect(listed.map(({ state }) => state)).toEqual(["closed", "included", "recorded", "closed", "recorded"]);
    const unrecorded = await readAll((query) => store.batches({ ...query, unrecorded: true }), 2);
    expect(unrecorded.map(({ id }) => id)).toEqual([5, 4, 2]);
  });

  test("sums units beyond the precision of a JavaScript number", async () => {
    const { store } = await make();
    const units = 2n ** 54n + 1n;
    await accepted(store, 3, () => ({ units }));
    expect((await store.totals()).units).toEqual({ verified: 3n * units, recorded: 0n });
  });

  test("starts from nothing", async () => {
    const { store } = await make();
    expect(await store.totals()).toEqual({
      tasks: { queued: 0, running: 0, cancelling: 0, verified: 0, failed: 0, cancelled: 0 },
      receipts: 0,
      unbatched: { count: 0 },
      quarantined: { count: 0, units: 0n },
      units: { verified: 0n, recorded: 0n },
    });
    expect(await store.unbatched()).toEqual({ count: 0 });
    expect(await store.queueDepths()).toEqual([]);
    expect(await store.nodeCounts()).toEqual({ online: 0, suspect: 0, offline: 0 });
    expect(await store.coordinators()).toEqual([]);
  });
}
