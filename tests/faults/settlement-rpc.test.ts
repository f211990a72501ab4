import { beforeEach, describe, expect, test, vi } from "vitest";
import { startLocalChain } from "../support/local-chain.ts";
import { someWallet } from "../support/settling.ts";
import { it, useSettling } from "../support/use-settling.ts";

const WAIT = { timeout: 60_000, interval: 10 };
/** Methods that settlement needs. */
const NEEDED = [
  "eth_chainId",
  "eth_getBalance",
  "eth_call",
  "eth_estimateGas",
  "eth_getTransactionCount",
  "eth_gasPrice",
  "eth_getBlockByNumber",
  "eth_sendRawTransaction",
];

describe("settlement through an RPC that", () => {
  const alice = someWallet();
  const bob = someWallet();
  const reasons = () => it.warnings.map(({ reason }) => reason ?? "").join("\n");

  useSettling({ lag: 3 });
  beforeEach(() => it.mine(5));

  test("is slow, with another delay for each request", async () => {
    let request = 0;
    it.proxy.fault = () => ({ delayMs: (request++ * 37) % 80 });
    const settlement = await it.settle({ maxReceipts: 1 });
    await it.verify([alice, bob]);
    settlement.nudge();
    await it.allRecordedMining();
    await it.expectExactlyOnce();
    expect(settlement.status().state).toBe("running");
  });

  test("never answers; stopping still works", async () => {
    it.proxy.fault = () => "hang";
    const settlement = await it.settle();
    await vi.waitFor(() => expect(it.proxy.calls.length).toBeGreaterThan(0), WAIT);
    await settlement.stop();
    it.proxy.fault = () => undefined;
    await it.verify([alice]);
    await it.settle();
    await it.allRecordedMining();
    await it.expectExactlyOnce();
  });

  test("fails at one method after another", async () => {
    const settlement = await it.settle();
    for (const broken of NEEDED) {
      it.proxy.fault = ({ method }) =>
        method === broken ? { code: -32603, message: `no ${broken} today` } : undefined;
      await it.verify([alice, bob]);
      settlement.nudge();
      await vi.waitFor(() => expect(settlement.status().reason).toContain(`no ${broken} today`), WAIT);
      expect(settlement.status().state).toBe("waiting");
      it.proxy.fault = () => undefined;
      await it.allRecordedMining();
    }
    await it.expectExactlyOnce();
    for (const method of NEEDED) expect(reasons()).toContain(`no ${method} today`);
  });

  test("has no event log; settlement does not need it", async () => {
    it.proxy.fault = ({ method }) =>
      method === "eth_getLogs" ? { code: -32601, message: "no such method" } : undefined;
    await it.settle();
    await it.verify([alice]);
    await it.allRecordedMining();
    await it.expectExactlyOnce();
    expect(await it.lastBatch()).toMatchObject({ transaction: expect.stringMatching(/^0x/) });
  });

  test("returns a nonce that is too low", async () => {
    const settlement = await it.settle();
    await it.verify([alice]);
    await it.allRecordedMining();
    it.proxy.rewrite = ({ method }, result) => (method === "eth_getTransactionCount" ? "0x0" : result);
    await it.verify([bob]);
    settlement.nudge();
    await vi.waitFor(() => expect(settlement.status()).toMatchObject({ state: "waiting" }), WAIT);
    expect(settlement.status().reason).toMatch(/nonce too low/i);
    it.proxy.rewrite = (_request, result) => result;
    await it.allRecordedMining();
    await it.expectExactlyOnce();
  });

  test("returns a nonce that is too high, which leaves a transaction for later", async () => {
    let lies = 1;
    it.proxy.rewrite = ({ method }, result) => (method === "eth_getTransactionCount" && lies-- > 0 ? "0x3" : result);
    await it.chain.provider.send("evm_setAutomine", [false]);
    const settlement = await it.settle({ resendMs: 100 });
    await it.verify([alice]);
    settlement.nudge();
    // That transaction cannot be included: two nonces before it are missing.
    await vi.waitFor(() => expect(settlement.status().reason).toContain("no block takes it"), WAIT);
    await it.allRecordedMining();
    for (let round = 0; round < 4; round++) {
      await it.verify([alice, bob]);
      settlement.nudge();
      await it.allRecordedMining();
    }
    await it.expectExactlyOnce();
    expect(await it.chain.provider.getTransactionCount((await it.ethers.identify()).recorder)).toBeGreaterThan(5);
  });

  test("loses transactions that it has accepted", async () => {
    let lost = 0;
    it.proxy.fault = ({ method }) =>
      method === "eth_sendRawTransaction" && lost++ < 3 ? { result: `0x${"00".repeat(32)}` } : undefined;
    const settlement = await it.settle({ resendMs: 50 });
    await it.verify([alice]);
    settlement.nudge();
    await it.allRecordedMining();
    await it.expectExactlyOnce();
    expect(it.count("eth_sendRawTransaction")).toBe(4);
    expect(reasons()).toContain("batch 1 was sent, but no block takes it");
    await vi.waitFor(() => expect(settlement.status()).toMatchObject({ state: "running", reason: undefined }), WAIT);
  });

  test("lags behind with finality", async () => {
    it.proxy.lag = 1_000;
    const settlement = await it.settle({ resendMs: 50 });
    // The contract itself is not final yet: no batch can be final, but all can be sent.
    await it.verify([alice]);
    settlement.nudge();
    await it.reached(1, "included");
    await it.verify([bob]);
    await it.reached(2, "included");
    await vi.waitFor(() => expect(settlement.status().reason).toMatch(/final/), WAIT);
    it.proxy.lag = (await it.chain.provider.getBlockNumber()) - 4;
    await vi.waitFor(
      () =>
        expect(settlement.status().reason).toBe("a block holds batch 1, but none that is final: finality lags behind"),
      WAIT,
    );
    expect(reasons()).toContain("finality lags behind");
    it.proxy.lag = 3;
    await it.allRecordedMining();
    await it.expectExactlyOnce();
    expect(it.count("eth_sendRawTransaction")).toBe(2);
  });

  test("suddenly serves another chain, with the same contract at the same address", async () => {
    const other = await startLocalChain();
    try {
      expect((await other.deploy()).address).toBe(it.contract);
      await other.provider.send("hardhat_mine", ["0x10"]);
      const settlement = await it.settle();
      await it.verify([alice]);
      await it.allRecordedMining();
      const { recorder } = await it.ethers.identify();
      const home = it.proxy.target;
      it.proxy.target = other.url;
      it.proxy.rewrite = ({ method }, result) => (method === "eth_chainId" ? "0x33" : result);
      await it.verify([bob]);
      settlement.nudge();
      await vi.waitFor(() => expect(settlement.status().state).toBe("waiting"), WAIT);
      expect(settlement.status().reason).toBe("the RPC serves chain 51 now, no more 31337");
      expect((await it.store.batch(1))?.state).toBe("recorded");
      expect(await other.provider.getTransactionCount(recorder)).toBe(0);
      it.proxy.target = home;
      it.proxy.rewrite = (_request, result) => result;
      await it.allRecordedMining();
      await it.expectExactlyOnce();
    } finally {
      await other.stop();
    }
  });

  test("has another contract at the address", async () => {
    const settlement = await it.settle();
    await it.verify([alice]);
    await it.allRecordedMining();
    const code = await it.chain.provider.getCode(it.contract);
    const replaceBy = async (bytecode: string, reason: RegExp) => {
      await it.chain.provider.send("hardhat_setCode", [it.contract, bytecode]);
      await it.mine(4);
      await it.verify([bob]);
      settlement.nudge();
      await vi.waitFor(() => expect(settlement.status().reason).toMatch(reason), WAIT);
      expect(settlement.status().state).toBe("waiting");
      expect((await it.store.batch(1))?.state).toBe("recorded");
      await it.chain.provider.send("hardhat_setCode", [it.contract, code]);
      await it.allRecordedMining();
    };
    // One contract reverts every call; the other answers with one byte.
    await replaceBy("0x60006000fd", /the contract refuses/);
    await replaceBy("0x60016000f3", /is no ProofOfCompute/);
    await it.expectExactlyOnce();
  });
});
