import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { type Address, toHex } from "@proof-of-compute/proto";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import type { Receipt } from "../../coordinator/src/domain/receipt.ts";
import type { Store } from "../../coordinator/src/ports/store.ts";
import { readSettlementView } from "../../coordinator/src/services/settlement-view.ts";
import { hasUnfinalBatches, readChainLedger, timeOf } from "../../scripts/lib/reconcile-chain.ts";
import { CannotFix, fix, livingCoordinators } from "../../scripts/lib/reconcile-fix.ts";
import { compare, newestRecorded } from "../../scripts/lib/reconcile-report.ts";
import { connect } from "../../scripts/lib/verify-cli.ts";
import { MemoryStore } from "../conformance/memory-store.ts";
import { startTestCoordinator } from "../support/coordinator.ts";
import { Mortal } from "../support/mortal.ts";

import { Settling, someWallet } from "../support/settling.ts";
import { storeSettings } from "../support/store.ts";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));
const WAIT = { timeout: 60_000, interval: 50 };
const HOUR = 3_600_000;
const SOME_ROOT = toHex(new Uint8Array(32).fill(7));

let it: Settling;
const alice = someWallet();
const bob = someWallet();
const carol = someWallet();
/** What each wallet must have, whatever any store remembers. */
const owed = new Map<Address, bigint>();

beforeEach(async () => {
  it = await Settling.begin();
  owed.clear();
});
afterEach(async () => {
  await it.end();
});

/** Verified work that must be paid once. */
async function verify(...task: Parameters<Settling["verify"]>): Promise<Receipt[]> {
  const receipts = await it.verify(...task);
  for (const { provider, units } of receipts) owed.set(provider, (owed.get(provider) ?? 0n) + units);
  return receipts;
}

async function expectPaidOnce(): Promise<void> {
  for (const [wallet, units] of owed) expect(await it.ethers.computeUnits(wallet), wallet).toBe(units);
}

/** A settlement that records all that waits, and ends. */
async function recordAll(store: Store = it.store): Promise<void> {
  const settlement = it.make(it.ethers, store);
  await settlement.start();
  await vi.waitFor(async () => {
    expect((await store.unbatched()).count).toBe(0);
    expect((await readSettlementView(store, Number.POSITIVE_INFINITY)).open).toEqual([]);
    expect(settlement.status().state).toBe("running");
  }, WAIT);
  await settlement.stop();
}

async function refused(): Promise<string> {
  const settlement = await it.settle();
  await vi.waitFor(() => expect(settlement.status().state).toBe("stopped"), WAIT);
  return settlement.status().reason!;
}

const ledgerOf = () => readChainLedger(it.chain.provider, { contract: it.contract, fromBlock: 0 });
const report = async (store: Store = it.store) => compare(store, await ledgerOf(), await newestRecorded(store));

async function mend(store: Store = it.store, clockMarginMs = 60_000): Promise<void> {
  const components = {
    store,
    timeOf: (block: number) => timeOf(it.chain.provider, block),
    say: () => undefined,
  };
  await fix(components, { clockMarginMs }, await ledgerOf());
}

const verdicts = async () => (await report()).batches.map(({ verdict }) => verdict);
const inQuarantine = async () => (await it.store.receipts({ limit: 100, quarantined: true })).items;

describe("reconcile", () => {
  test("sets both sides beside each other, credits by hand apart", async () => {
    await verify([alice, bob]);
    await recordAll();
    for (const wallet of [alice, alice, carol]) {
      await (await it.owned().getFunction("recordCompute")(wallet)).wait();
    }
    await verify([alice]);
    await recordAll();
    const found = await report();
    expect(found).toMatchObject({ agree: true, unbatched: { count: 0 }, quarantined: [] });
    expect(found.batches.map(({ id, verdict }) => [id, verdict])).toEqual([
      [1, "same"],
      [2, "same"],
    ]);
    expect(found.wallets).toHaveLength(3);
    const rowOf = (wallet: Address) => found.wallets.find((row) => row.wallet === wallet);
    expect(rowOf(alice)).toMatchObject({ chain: owed.get(alice)! + 2n, store: owed.get(alice), byHand: 2n });
    expect(rowOf(carol)).toMatchObject({ chain: 1n, store: 0n, byHand: 1n, difference: 0n });
  });

  test("a backup whose lost batches are made of receipts that it has: they are found again by their root", async () => {
    await verify([alice, bob, alice]);
    const restore = await it.backup();
    await recordAll();
    await restore();
    expect(await refused()).toMatch(/chain holds batch 1, which the store lacks: see npm run reconcile/);
    expect(await verdicts()).toEqual(["only on chain"]);
    await mend();
    expect(await verdicts()).toEqual(["same"]);
    expect(await inQuarantine()).toEqual([]);
    await verify([bob]);
    await recordAll();
    await it.expectExactlyOnce();
    await expectPaidOnce();
  });

  test("a lost batch with lost receipts is imported; what may be in it waits for an operator", async () => {
    await verify([alice]);
    await recordAll();
    const [credited] = await verify([bob]);
    const live = await it.assign(carol, Date.now());
    const restore = await it.backup();
    await verify([bob, carol]);
    await recordAll();
    await verify([alice]);
    await recordAll();
    await restore();
    // A result of before comes again: its acknowledgement was lost, and this store does not know that it was credited.
    const [again] = await it.verify([bob], { from: Date.now(), at: Date.now() + HOUR });
    await verify([alice, carol], { at: Date.now() + 2 * HOUR });
    await mend();
    expect(await verdicts()).toEqual(["same", "same", "same"]);
    expect(await it.store.batch(2)).toMatchObject({ imported: true, state: "recorded", receiptIds: [] });
    expect((await inQuarantine()).map(({ receiptId }) => receiptId)).toEqual([credited!.receiptId, again!.receiptId]);
    // Its result may have been accepted in the lost time; what comes of it now is late.
    expect(await it.store.task(live.id)).toMatchObject({
      state: "queued",
      assignments: { [Object.keys(live.assignments)[0]!]: { state: "lost", reason: "STORE_RESTORED" } },
    });
    await recordAll();
    await expectPaidOnce();
    expect((await report()).agree).toBe(true);
  });

  test("a closed batch that the chain contradicts is withdrawn, and its receipts are credited once they are released", async () => {
    it.proxy.fault = ({ method }) => (method === "eth_sendRawTransaction" ? "drop" : undefined);
    const settlement = await it.settle();
    await verify([alice]);
    await it.reached(1, "closed");
    // Another store's leader, with the same key.
    await (await it.recorded().getFunction("recordBatch")(1, SOME_ROOT, [[bob, 5]])).wait();
    owed.set(bob, 5n);
    it.proxy.fault = () => undefined;
    await vi.waitFor(() => expect(settlement.status().state).toBe("stopped"), WAIT);
    expect(settlement.status().reason).toContain("npm run reconcile");
    expect(await verdicts()).toEqual(["different"]);
    await mend();
    expect(await it.store.batch(1)).toMatchObject({ root: SOME_ROOT, imported: true });
    const ids = (await inQuarantine()).map(({ receiptId }) => receiptId);
    expect(ids).toHaveLength(1);
    await it.store.releaseReceipts(ids);
    await recordAll();
    await expectPaidOnce();
    await it.expectExactlyOnce(new Map([[bob, 5n]]));
  });

  test("two leaders at once with different contents, each on a store of its own", async () => {
    const other = new MemoryStore();
    await other.start();
    await it.chain.provider.send("evm_setAutomine", [false]);
    await verify([alice, bob]);
    await verify([bob, carol], { store: other });
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
    // One store a contract: the work of the one that lost goes on above, once somebody has looked.
    await mend(store);
    const { items } = await store.receipts({ limit: 10, quarantined: true });
    expect(items).toHaveLength(2);
    await store.releaseReceipts(items.map(({ receiptId }) => receiptId));
    await recordAll(store);
    await expectPaidOnce();
    expect((await report(store)).agree).toBe(true);
  });

  test("a recorded batch that the chain contradicts is nobody's to mend", async () => {
    await verify([alice]);
    await recordAll();
    await it.wipe();
    await (await it.recorded().getFunction("recordBatch")(1, SOME_ROOT, [[bob, 5]])).wait();
    await expect(mend()).rejects.toThrow(CannotFix);
    expect(await it.store.batch(1)).toMatchObject({ state: "recorded" });
    expect((await report()).agree).toBe(false);
  });

  test("an RPC that keeps events back is found out", async () => {
    await verify([alice, bob]);
    await recordAll();
    await (await it.owned().getFunction("recordCompute")(alice)).wait();
    const rpc = connect(it.proxy.url);
    try {
      const read = () => readChainLedger(rpc, { contract: it.contract, fromBlock: 0 });
      await expect(read()).resolves.toMatchObject({ batches: [{ id: 1 }] });
      for (const keep of [0, 1, 2, 3]) {
        it.proxy.rewrite = ({ method }, result) =>
          method === "eth_getLogs" ? (result as unknown[]).toSpliced(keep, 1) : result;
        await expect(read(), `without event ${keep}`).rejects.toThrow(/use an RPC that serves every event/);
      }
    } finally {
      rpc.destroy();
    }
  });

  test("what a coordinator records while the chain is being read is no difference; what the chain has lost is", async () => {
    await verify([alice]);
    await recordAll();
    const before = await newestRecorded(it.store);
    const ledger = await ledgerOf();
    await verify([alice, bob]);
    await recordAll();
    expect(await compare(it.store, ledger, before)).toMatchObject({
      agree: true,
      batches: [{ verdict: "same" }, { verdict: "on its way" }],
    });
    await it.wipe();
    expect(await report()).toMatchObject({
      agree: false,
      batches: [{ verdict: "only in store" }, { verdict: "only in store" }],
    });
  });

  test("what no final block holds yet is waited for", async () => {
    it.proxy.lag = 3;
    const rpc = connect(it.proxy.url);
    try {
      await it.mine(5);
      await verify([alice]);
      const settlement = await it.settle();
      await it.reached(1, "included");
      expect(await hasUnfinalBatches(rpc, { contract: it.contract, fromBlock: 0 })).toBe(true);
      const final = await readChainLedger(rpc, { contract: it.contract, fromBlock: 0 });
      expect(await compare(it.store, final, 0)).toMatchObject({ agree: true, batches: [{ verdict: "on its way" }] });
      await it.mine(3);
      expect(await hasUnfinalBatches(rpc, { contract: it.contract, fromBlock: 0 })).toBe(false);
      await settlement.stop();
    } finally {
      rpc.destroy();
    }
  });

  test("ended at any of its calls, settlement sends nothing, and the next run ends the work", async () => {
    await verify([alice]);
    await recordAll();
    await verify([bob]);
    await it.assign(carol, Date.now());
    const restore = await it.backup();
    await recordAll();
    await verify([bob, carol]);
    await recordAll();
    await restore();
    await verify([carol], { at: Date.now() + HOUR });
    // The chain goes on in every round, so each begins with the same store and one batch more.
    const again = await it.backup();
    let died = true;
    let points = 0;
    for (; died; points++) {
      await again();
      const process = new Mortal(points, points % 2 === 1);
      const mended = mend(process.mortal<Store>(it.store, "store")).then(() => true);
      const dead = vi.waitFor(() => expect(process.dead).toBe(true), WAIT).then(() => false);
      died = !(await Promise.race([mended, dead]));
      dead.catch(() => undefined);
      const sent = it.count("eth_sendRawTransaction");
      if (died) {
        const settlement = await it.settle();
        await vi.waitFor(() => expect(["stopped", "running"]).toContain(settlement.status().state), WAIT);
        await settlement.stop();
        // Unless it was ended after its last change, that is.
        if (settlement.status().state === "stopped") expect(it.count("eth_sendRawTransaction")).toBe(sent);
        await mend();
      }
      expect((await report()).agree).toBe(true);
    }
    expect(points).toBeGreaterThan(10);
    await recordAll();
    await expectPaidOnce();
  });

  test("knows who lives by a beat that grows, whatever the clocks say", async () => {
    const store = new MemoryStore();
    await store.start();
    const record = (coordinatorId: string) => ({
      coordinatorId,
      incarnation: toHex(new Uint8Array(16)),
      beat: 0,
      address: "http://127.0.0.1:1",
      version: "0.1.0",
      startedAt: 0,
    });
    await store.register(record("dead"));
    await store.register(record("alive"));
    const beating = setInterval(() => void store.beat(record("alive")), 5);
    try {
      expect(await livingCoordinators(store, 100)).toEqual(["alive"]);
    } finally {
      clearInterval(beating);
    }
    expect(await livingCoordinators(store, 100)).toEqual([]);
  });
});

describe("npm run reconcile, beside a coordinator", () => {
  /** A coordinator on the store's folder, until `condition` holds of what it says of settlement. */
  async function coordinate(
    condition: (settlement: Settlement) => void,
    meanwhile?: () => Promise<void>,
  ): Promise<void> {
    await it.lend(async () => {
      const coordinator = await startTestCoordinator({
        ...(await environment()),
        RECORDER_PRIVATE_KEY: it.chain.key(1),
        BATCH_MAX_WAIT: "1ms",
        CHAIN_POLL_INTERVAL: "50ms",
      });
      try {
        await vi.waitFor(async () => {
          const network = (await (await fetch(`${coordinator.origin}/api/network`)).json()) as {
            settlement: Settlement;
          };
          condition(network.settlement);
        }, WAIT);
        await meanwhile?.();
      } finally {
        await coordinator.stop();
      }
    });
  }

  interface Settlement {
    readonly state: string;
    readonly reason?: string;
    readonly lastRecorded?: number;
  }

  const environment = async () => ({
    DATA_DIR: it.directory,
    XDC_RPC_URL: it.proxy.url,
    PROOF_OF_COMPUTE_ADDRESS: it.contract,
    LEASE_TIME: "3s",
    HEARTBEAT_INTERVAL: "1s",
    ...(await storeSettings(it.directory)),
  });
  const recorded = (id: number) => (settlement: Settlement) =>
    expect(settlement).toMatchObject({ state: "running", lastRecorded: id });

  /** `npm run reconcile` as a process. */
  async function run(...flags: readonly string[]): Promise<{ code: number; output: string }> {
    const env = { ...process.env, ...(await environment()), NO_COLOR: "1" };
    return new Promise((resolve) => {
      execFile(process.execPath, ["scripts/reconcile.ts", ...flags], { cwd: ROOT, env }, (error, stdout, stderr) => {
        resolve({ code: error ? Number(error.code) : 0, output: stdout + stderr });
      });
    });
  }

  /** The same, on the store that the test has open otherwise. */
  function reconcile(...flags: readonly string[]): Promise<{ code: number; output: string }> {
    return it.lend(() => run(...flags));
  }

  test("yesterday's backup: settlement stops, reconcile mends, and the coordinator goes on", async () => {
    await verify([alice, bob]);
    await coordinate(recorded(1));
    await verify([alice]);
    const restore = await it.backup();
    await coordinate(recorded(2));
    await verify([bob, carol]);
    await coordinate(recorded(3));
    await restore();
    await verify([alice, carol]);

    await coordinate(
      (settlement) => {
        expect(settlement.state).toBe("stopped");
        expect(settlement.reason).toContain("npm run reconcile");
      },
      async () => {
        expect(await run("--fix")).toEqual({
          code: 2,
          output: expect.stringMatching(/another coordinator uses|stop every coordinator/),
        });
      },
    );
    const dry = await reconcile();
    expect(dry).toEqual({ code: 1, output: expect.stringMatching(/only on chain[\s\S]*do not agree/) });
    expect(await it.lastBatch()).toMatchObject({ id: 1 });

    const fixed = await reconcile("--fix");
    expect(fixed.output).toContain("batch 2: found its 1 receipts");
    expect(fixed.output).toContain("batch 3: imported from the chain");
    expect(fixed.output).toContain("receipts in quarantine: 2");
    expect(fixed.code).toBe(0);
    // Both were accepted after the backup was restored, so no lost batch has them.
    const released = await reconcile("--release-quarantine", "all");
    expect(released).toEqual({ code: 0, output: expect.stringContaining("released 2 receipts") });
    await coordinate(recorded(4));
    await expectPaidOnce();
    const report = JSON.parse((await reconcile("--json")).output) as { agree: boolean; batches: { verdict: string }[] };
    expect(report.agree).toBe(true);
    expect(report.batches.map(({ verdict }) => verdict)).toEqual(["same", "same", "same", "same"]);
  });

  test("a lost database is rebuilt as far as the chain knows", async () => {
    await verify([alice, bob]);
    await coordinate(recorded(1));
    await verify([bob]);
    await coordinate(recorded(2));
    await (await it.owned().getFunction("recordCompute")(alice)).wait();
    owed.set(alice, owed.get(alice)! + 1n);
    await it.lose();

    expect(await reconcile()).toEqual({ code: 1, output: expect.stringContaining("the store is empty") });
    const fixed = await reconcile("--fix");
    expect(fixed).toEqual({ code: 0, output: expect.stringContaining("batch 2: imported from the chain") });
    expect(await it.store.boundTo()).toEqual({ chainId: 31337, address: it.contract });
    expect((await reconcile("--fix")).code).toBe(0);
    await verify([alice, carol]);
    await coordinate(recorded(3));
    await expectPaidOnce();
    expect((await reconcile()).code).toBe(0);
  });

  test("says what it cannot do", async () => {
    const wrong = [
      [["--fix", "--release-quarantine", "all"], /--fix first/],
      [["--release-quarantine", "0x00"], /no receipt in quarantine/],
    ] as const;
    for (const [flags, message] of wrong) {
      expect(await reconcile(...flags)).toEqual({ code: 2, output: expect.stringMatching(message) });
    }
    await it.store.bind({ chainId: 50, address: it.contract }, false);
    expect(await reconcile()).toEqual({ code: 2, output: expect.stringContaining("the store belongs to") });
  });
});
