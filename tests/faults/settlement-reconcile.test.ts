import { MemoryStore } from "@proof-of-compute/coordinator/adapters/memory/store";
import { CannotFix } from "@proof-of-compute/coordinator/commands/reconcile/fix";
import { compare, newestRecorded } from "@proof-of-compute/coordinator/commands/reconcile/report";
import { type Address, toHex } from "@proof-of-compute/proto";
import { describe, expect, test, vi } from "vitest";
import { WAIT } from "../support/both-sides.ts";
import { someWallet } from "../support/settling.ts";
import { it, sides, useSettling } from "../support/use-settling.ts";

const HOUR = 3_600_000;
const SOME_ROOT = toHex(new Uint8Array(32).fill(7));

const alice = someWallet();
const bob = someWallet();
const carol = someWallet();

useSettling();

describe("reconcile", () => {
  test("compares both sides, with credits by hand apart", async () => {
    await sides.verify([alice, bob]);
    await sides.recordAll();
    for (const wallet of [alice, alice, carol]) {
      await (await it.owned().getFunction("recordCompute")(wallet)).wait();
    }
    await sides.verify([alice]);
    await sides.recordAll();
    const found = await sides.report();
    expect(found).toMatchObject({ agree: true, unbatched: { count: 0 }, quarantined: [] });
    expect(found.batches.map(({ id, verdict }) => [id, verdict])).toEqual([
      [1, "same"],
      [2, "same"],
    ]);
    expect(found.wallets).toHaveLength(3);
    const rowOf = (wallet: Address) => found.wallets.find((row) => row.wallet === wallet);
    expect(rowOf(alice)).toMatchObject({
      chain: sides.owed.get(alice)! + 2n,
      store: sides.owed.get(alice),
      byHand: 2n,
    });
    expect(rowOf(carol)).toMatchObject({ chain: 1n, store: 0n, byHand: 1n, difference: 0n });
  });

  test("finds lost batches by their root if the backup has their receipts", async () => {
    await sides.verify([alice, bob, alice]);
    const restore = await it.backup();
    await sides.recordAll();
    await restore();
    expect(await sides.refused()).toMatch(/chain holds batch 1, which the store lacks: see npm run reconcile/);
    expect(await sides.verdicts()).toEqual(["only on chain"]);
    await sides.mend();
    expect(await sides.verdicts()).toEqual(["same"]);
    expect(await sides.inQuarantine()).toEqual([]);
    await sides.verify([bob]);
    await sides.recordAll();
    await it.expectExactlyOnce();
    await sides.expectPaidOnce();
  });

  test("imports a lost batch with lost receipts; receipts that it may carry wait for an operator", async () => {
    await sides.verify([alice]);
    await sides.recordAll();
    const [credited] = await sides.verify([bob]);
    const { running: live } = await it.assign(carol, Date.now());
    const restore = await it.backup();
    await sides.verify([bob, carol]);
    await sides.recordAll();
    await sides.verify([alice]);
    await sides.recordAll();
    await restore();
    // An earlier result comes again: its acknowledgement was lost, and this store does not know that it was credited.
    const [again] = await it.verify([bob], { from: Date.now(), at: Date.now() + HOUR });
    await sides.verify([alice, carol], { at: Date.now() + 2 * HOUR });
    await sides.mend();
    expect(await sides.verdicts()).toEqual(["same", "same", "same"]);
    expect(await it.store.batch(2)).toMatchObject({ imported: true, state: "recorded", receiptIds: [] });
    expect((await sides.inQuarantine()).map(({ receiptId }) => receiptId)).toEqual([
      credited!.receiptId,
      again!.receiptId,
    ]);
    // Its result may have been accepted in the lost time, so it is late now.
    expect(await it.store.task(live.id)).toMatchObject({
      state: "queued",
      assignments: { [Object.keys(live.assignments)[0]!]: { state: "lost", reason: "STORE_RESTORED" } },
    });
    await sides.recordAll();
    await sides.expectPaidOnce();
    expect((await sides.report()).agree).toBe(true);
  });

  test("withdraws a closed batch that the chain contradicts, and credits its receipts once they are released", async () => {
    it.proxy.fault = ({ method }) => (method === "eth_sendRawTransaction" ? "drop" : undefined);
    const settlement = await it.settle();
    await sides.verify([alice]);
    await it.reached(1, "closed");
    // The leader of another store, with the same key.
    await (await it.recorded().getFunction("recordBatch")(1, SOME_ROOT, [[bob, 5]])).wait();
    sides.owed.set(bob, 5n);
    it.proxy.fault = () => undefined;
    await vi.waitFor(() => expect(settlement.status().state).toBe("stopped"), WAIT);
    expect(settlement.status().reason).toContain("npm run reconcile");
    expect(await sides.verdicts()).toEqual(["different"]);
    await sides.mend();
    expect(await it.store.batch(1)).toMatchObject({ root: SOME_ROOT, imported: true });
    const ids = (await sides.inQuarantine()).map(({ receiptId }) => receiptId);
    expect(ids).toHaveLength(1);
    await it.store.releaseReceipts(ids);
    await sides.recordAll();
    await sides.expectPaidOnce();
    await it.expectExactlyOnce(new Map([[bob, 5n]]));
  });

  test("two concurrent leaders with different contents, each on its own store", async () => {
    const other = new MemoryStore();
    await other.start();
    await it.chain.provider.send("evm_setAutomine", [false]);
    await sides.verify([alice, bob]);
    await sides.verify([bob, carol], { store: other });
    const leaders = [it.store, other].map((store) => ({ store, settlement: it.make(it.ethers, store) }));
    for (const { settlement } of leaders) await settlement.start();
    await vi.waitFor(async () => {
      for (const { store } of leaders) expect((await store.batch(1))?.transaction).toBeDefined();
    }, WAIT);
    await it.chain.provider.send("evm_setAutomine", [true]);
    await it.mine(1);
    const stopped = () => leaders.filter(({ settlement }) => settlement.status().state === "stopped");
    const first = async ({ store }: (typeof leaders)[number]) => (await store.batch(1))?.state;
    await vi.waitFor(async () => {
      expect(stopped()).toHaveLength(1);
      expect(await Promise.all(leaders.map(first))).toContain("recorded");
    }, WAIT);
    const [{ store, settlement }] = stopped() as [(typeof leaders)[number]];
    expect(settlement.status().reason).toContain("npm run reconcile");
    for (const leader of leaders) await leader.settlement.stop();
    // A contract has one store: the receipts of the losing store are credited above, after an operator's decision.
    await sides.mend(store);
    const { items } = await store.receipts({ limit: 10, quarantined: true });
    expect(items).toHaveLength(2);
    await store.releaseReceipts(items.map(({ receiptId }) => receiptId));
    await sides.recordAll(store);
    await sides.expectPaidOnce();
    expect((await sides.report(store)).agree).toBe(true);
  });

  test("refuses to repair a recorded batch that the chain contradicts", async () => {
    await sides.verify([alice]);
    await sides.recordAll();
    await it.wipe();
    await (await it.recorded().getFunction("recordBatch")(1, SOME_ROOT, [[bob, 5]])).wait();
    await expect(sides.mend()).rejects.toThrow(CannotFix);
    expect(await it.store.batch(1)).toMatchObject({ state: "recorded" });
    expect((await sides.report()).agree).toBe(false);
  });

  test("ignores batches that a coordinator records meanwhile, and reports those that the chain has lost", async () => {
    await sides.verify([alice]);
    await sides.recordAll();
    const before = await newestRecorded(it.store);
    const ledger = await sides.ledger();
    await sides.verify([alice, bob]);
    await sides.recordAll();
    expect(await compare(it.store, ledger, before)).toMatchObject({
      agree: true,
      batches: [{ verdict: "same" }, { verdict: "on its way" }],
    });
    await it.wipe();
    expect(await sides.report()).toMatchObject({
      agree: false,
      batches: [{ verdict: "only in store" }, { verdict: "only in store" }],
    });
  });
});
