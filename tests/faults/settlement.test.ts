import { toHex } from "@proof-of-compute/proto";
import { toQuantity } from "ethers";
import { beforeEach, describe, expect, test, vi } from "vitest";
import { someWallet } from "../support/settling.ts";
import { it, useSettling } from "../support/use-settling.ts";

const WAIT = { timeout: 60_000, interval: 10 };
const ROOT = toHex(new Uint8Array(32).fill(7));

describe("settlement on the real contract", () => {
  const alice = someWallet();
  const bob = someWallet();

  useSettling();

  test("credits every receipt once, and stores the transaction", async () => {
    const settlement = await it.settle();
    await it.verify([alice, bob, alice]);
    settlement.nudge();
    await it.allRecorded();
    await it.expectExactlyOnce();
    const batch = await it.store.batch(1);
    const receipt = await it.chain.provider.getTransactionReceipt(batch!.transaction!);
    expect(receipt).toMatchObject({ status: 1, blockNumber: batch!.block, to: it.contract });
    expect(it.changes).toEqual(["1 closed", "1 included", "1 recorded"]);
    await vi.waitFor(() =>
      expect(settlement.status()).toMatchObject({ state: "running", openBatches: 0, lastRecorded: 1 }),
    );
    expect(settlement.status().recorderBalance).toBeGreaterThan(0n);
    expect(it.warnings).toEqual([]);
  });

  test("closes at the limit of receipts, and never credits more wallets than allowed", async () => {
    await it.verify(Array.from({ length: 12 }, someWallet));
    const five = await it.settle({ maxProviders: 5, maxWaitMs: 3_600_000 });
    await it.reached(2, "recorded");
    await five.stop();
    const sizes = async () => (await it.store.batches({ limit: 10 })).items.map(({ credits }) => credits.length);
    expect(await sizes()).toEqual([5, 5]);
    await it.verify([alice, alice, alice]);
    const limited = await it.settle({ maxReceipts: 5, maxWaitMs: 3_600_000 });
    limited.nudge();
    await it.allRecorded();
    expect(await sizes()).toEqual([3, 5, 5]);
    await it.expectExactlyOnce();
  });

  test("sends batches again, in order, that a wiped chain has lost", async () => {
    await it.settle({ maxProviders: 1 });
    await it.verify([alice, bob, someWallet()]);
    await it.allRecorded();
    expect((await it.lastBatch())?.id).toBe(3);
    await it.wipe();
    await vi.waitFor(async () => expect(await it.ethers.nextBatchId("latest")).toBe(4), WAIT);
    await it.allRecorded();
    await it.expectExactlyOnce();
  });

  test("stops when the chain holds another root", async () => {
    it.proxy.fault = ({ method }) => (method === "eth_sendRawTransaction" ? "drop" : undefined);
    const settlement = await it.settle();
    await it.verify([alice]);
    await it.reached(1, "closed");
    await (await it.recorded().getFunction("recordBatch")(1, ROOT, [[bob, 5]])).wait();
    it.proxy.fault = () => undefined;
    await vi.waitFor(() => expect(settlement.status().state).toBe("stopped"), WAIT);
    expect(settlement.status().reason).toContain(ROOT);
    expect(settlement.status().reason).toContain("npm run reconcile");
    expect(it.warnings.at(-1)).toMatchObject({ level: 50, reason: settlement.status().reason });
    expect(await it.ethers.computeUnits(alice)).toBe(0n);
  });

  test("stops when the chain holds a batch that the store lacks", async () => {
    await (await it.recorded().getFunction("recordBatch")(1, ROOT, [[bob, 5]])).wait();
    const settlement = await it.settle();
    await it.verify([alice]);
    await vi.waitFor(() => expect(settlement.status().state).toBe("stopped"), WAIT);
    expect(settlement.status().reason).toContain("batch 1, which the store lacks");
    expect(await it.lastBatch()).toBeUndefined();
  });

  test("waits, with an error in the log, while the recorder has no role, and continues when it gets it back", async () => {
    const settlement = await it.settle();
    await vi.waitFor(() => expect(settlement.status().state).toBe("running"), WAIT);
    const { recorder } = await it.ethers.identify();
    const setRecorder = it.owned().getFunction("setRecorder");
    await (await setRecorder(bob)).wait();
    await it.verify([alice]);
    settlement.nudge();
    await vi.waitFor(() => expect(settlement.status().reason).toContain("calls setRecorder"), WAIT);
    expect(settlement.status().state).toBe("waiting");
    expect(it.warnings).toContainEqual(expect.objectContaining({ level: 50, reason: settlement.status().reason }));
    expect(it.count("eth_sendRawTransaction")).toBe(0);
    await (await setRecorder(recorder)).wait();
    await it.allRecorded();
    await it.expectExactlyOnce();
  });

  test("waits while the contract is paused, and continues afterwards", async () => {
    await (await it.owned().getFunction("pause")()).wait();
    const settlement = await it.settle();
    await it.verify([alice]);
    settlement.nudge();
    await vi.waitFor(() => expect(settlement.status().reason).toContain("EnforcedPause"), WAIT);
    expect(await it.lastBatch()).toBeUndefined();
    await (await it.owned().getFunction("unpause")()).wait();
    await it.allRecorded();
    await it.expectExactlyOnce();
  });

  test.each(["paused", "poor"])("marks final batches while the next one cannot be sent: %s", async (why) => {
    it.proxy.lag = 2;
    // The finalized block has the contract.
    await it.mine(2);
    const { recorder } = await it.ethers.identify();
    const settlement = await it.settle();
    await it.verify([alice]);
    await it.reached(1, "included");
    if (why === "paused") await (await it.owned().getFunction("pause")()).wait();
    else await it.chain.provider.send("hardhat_setBalance", [recorder, "0x0"]);
    await it.verify([bob]);
    const waits = {
      state: "waiting",
      reason: expect.stringMatching(why === "paused" ? /EnforcedPause/ : /send it coins/),
    };
    await vi.waitFor(() => expect(settlement.status()).toMatchObject(waits), WAIT);
    await it.mine(2);
    await it.reached(1, "recorded");
    expect(settlement.status()).toMatchObject({ ...waits, lastRecorded: 1 });
  });

  test("waits while the recorder has no coins, and names it", async () => {
    const recorder = (await it.ethers.identify()).recorder;
    await it.chain.provider.send("hardhat_setBalance", [recorder, "0x0"]);
    const settlement = await it.settle();
    await it.verify([alice]);
    settlement.nudge();
    await vi.waitFor(() => expect(settlement.status().reason).toContain(`${recorder} holds 0.0`), WAIT);
    await it.chain.provider.send("hardhat_setBalance", [recorder, "0xde0b6b3a7640000"]);
    await it.allRecorded();
    await it.expectExactlyOnce();
  });

  test("warns while the recorder can pay for few more batches", async () => {
    const { recorder } = await it.ethers.identify();
    const settlement = await it.settle();
    await it.chain.provider.send("hardhat_setBalance", [recorder, toQuantity(10n ** 15n)]);
    await it.verify([alice]);
    await it.allRecorded();
    await vi.waitFor(() => expect(settlement.status().reason).toContain(`${recorder} can pay for fewer than 10`), WAIT);
    expect(settlement.status().state).toBe("running");
    await it.chain.provider.send("hardhat_setBalance", [recorder, toQuantity(10n ** 18n)]);
    await it.verify([alice]);
    settlement.nudge();
    await vi.waitFor(() => expect(settlement.status()).toMatchObject({ state: "running", reason: undefined }), WAIT);
  });

  test("waits while the RPC is unavailable, logs that once, and continues", async () => {
    it.proxy.fault = () => "drop";
    const settlement = await it.settle();
    await it.verify([alice]);
    await vi.waitFor(() => expect(it.proxy.calls.length).toBeGreaterThan(5), WAIT);
    expect(settlement.status().state).toBe("waiting");
    expect(it.warnings).toHaveLength(1);
    it.proxy.fault = () => undefined;
    await it.allRecorded();
    expect(settlement.status().state).toBe("running");
  });

  test("says that there is no contract", async () => {
    await it.chain.provider.send("hardhat_setCode", [it.contract, "0x"]);
    const settlement = await it.settle();
    await vi.waitFor(() => expect(settlement.status().reason).toContain(`no contract at ${it.contract}`), WAIT);
  });

  test("treats a transaction as sent when the answer was lost", async () => {
    let lost = 0;
    it.proxy.fault = ({ method }) =>
      method === "eth_sendRawTransaction" && lost++ === 0 ? "drop-response" : undefined;
    await it.settle();
    await it.verify([alice, bob]);
    await it.allRecorded();
    await it.expectExactlyOnce();
    expect(it.count("eth_sendRawTransaction")).toBe(1);
  });

  test("two concurrent leaders on one store with one key credit once", async () => {
    // Each takes the other for dead and takes the lock repeatedly, and each would close other batches.
    const lonely = () => ({ ...it.peer(), isAlive: () => false });
    const both = [await it.settle({ maxReceipts: 3 }, lonely()), await it.settle({ maxReceipts: 4 }, lonely())];
    for (let round = 0; round < 10; round++) {
      await it.verify([alice, bob, someWallet()]);
      for (const settlement of both) settlement.nudge();
    }
    await it.allRecorded();
    await it.expectExactlyOnce();
    for (const settlement of both) expect(settlement.status().state).not.toBe("stopped");
  });
});

describe("settlement before finality", () => {
  const alice = someWallet();
  const bob = someWallet();

  useSettling({ lag: 3 });
  beforeEach(() => it.mine(5));

  test("marks a batch as recorded only when the finalized block holds it", async () => {
    await it.settle();
    await it.verify([alice]);
    await it.reached(1, "included");
    const block = (await it.store.batch(1))!.block!;
    await it.mine(2);
    await it.lookedAgain();
    expect((await it.store.batch(1))?.state).toBe("included");
    await it.verify([bob]);
    await it.reached(2, "included");
    expect(await it.chain.provider.getBlockNumber()).toBe(block + 3);
    await it.reached(1, "recorded");
    await it.lookedAgain();
    expect((await it.store.batch(2))?.state).toBe("included");
    expect(it.changes).not.toContain("2 recorded");
    await it.mine(3);
    await it.allRecorded();
    await it.expectExactlyOnce();
  });

  test.each([1, 2, 3])("sends batches again, once, that a reorg of %i blocks dropped", async (depth) => {
    const settlement = await it.settle();
    const snapshot = await it.chain.provider.send("evm_snapshot", []);
    for (let id = 1; id <= depth; id++) {
      await it.verify([alice, bob]);
      settlement.nudge();
      await it.reached(id, "included");
    }
    await it.chain.provider.send("evm_revert", [snapshot]);
    const included = () => it.changes.filter((change) => change.endsWith("included"));
    await vi.waitFor(() => expect(included()).toHaveLength(2 * depth), WAIT);
    await it.mine(3);
    await it.allRecorded();
    await it.expectExactlyOnce();
    expect(it.count("eth_sendRawTransaction")).toBe(2 * depth);
    for (let id = 1; id <= depth; id++) {
      const moves = it.changes.filter((change) => change.startsWith(`${id} `)).map((change) => change.slice(2));
      expect(moves).toEqual(["closed", "included", "closed", "included", "recorded"]);
    }
    expect(it.warnings.map(({ msg }) => msg)).toContain("batch dropped by a reorg; sending it again");
  });

  test("an RPC without a finalized block delays no batch", async () => {
    it.proxy.fault = ({ params }) =>
      params.includes("finalized") ? { code: -39001, message: "finalized block not found" } : undefined;
    const settlement = await it.settle();
    await it.verify([alice]);
    settlement.nudge();
    await it.reached(1, "included");
    await vi.waitFor(() => expect(settlement.status().reason).toContain("finalized block not found"), WAIT);
    await it.mine(3);
    it.proxy.fault = () => undefined;
    await it.allRecorded();
    await it.expectExactlyOnce();
  });

  test("replaces a transaction that is not included in time, under the same nonce", async () => {
    await it.chain.provider.send("evm_setAutomine", [false]);
    await it.settle({ resendMs: 100 });
    await it.verify([alice]);
    await vi.waitFor(() => expect(it.count("eth_sendRawTransaction")).toBeGreaterThan(2), WAIT);
    const pool = async () => (await it.chain.provider.send("eth_getBlockByNumber", ["pending", true])).transactions;
    const [first] = await pool();
    await vi.waitFor(async () => expect((await pool())[0].hash).not.toBe(first.hash), WAIT);
    const [second, ...others] = await pool();
    expect(others).toEqual([]);
    expect(second.nonce).toBe(first.nonce);
    expect(BigInt(second.maxFeePerGas) * 10n).toBeGreaterThanOrEqual(BigInt(first.maxFeePerGas) * 11n);
    await it.mine(4);
    await it.allRecorded();
    await it.expectExactlyOnce();
  });

  test("replaces the pending transaction of an earlier run, whatever its fee", async () => {
    await it.chain.provider.send("evm_setAutomine", [false]);
    const first = await it.settle({ resendMs: 50 });
    await it.verify([alice]);
    await vi.waitFor(() => expect(it.count("eth_sendRawTransaction")).toBeGreaterThan(3), WAIT);
    await first.stop();
    const before = it.count("eth_sendRawTransaction");
    const second = await it.settle();
    await vi.waitFor(() => expect(it.count("eth_sendRawTransaction")).toBeGreaterThan(before), WAIT);
    await vi.waitFor(() => expect(second.status().state).toBe("running"), WAIT);
    const { transactions } = await it.chain.provider.send("eth_getBlockByNumber", ["pending", true]);
    expect(transactions).toHaveLength(1);
    await it.mine(4);
    await it.allRecorded();
    await it.expectExactlyOnce();
  });
});
