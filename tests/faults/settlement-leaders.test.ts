import { EthersChain } from "@proof-of-compute/coordinator/adapters/ethers-chain";
import { Wallet } from "ethers";
import { expect, test, vi } from "vitest";
import { freePort } from "../support/process.ts";
import { someWallet } from "../support/settling.ts";
import { it, useSettling } from "../support/use-settling.ts";

const WAIT = { timeout: 60_000, interval: 10 };
const HIGH_FEE = { maxFeePerGas: 10n ** 12n, maxPriorityFeePerGas: 10n ** 12n };

const alice = someWallet();
const bob = someWallet();

useSettling();

test("one leads, and the other stands by with the leader's name and progress", async () => {
  const leader = await it.settle();
  await vi.waitFor(() => expect(leader.status().state).toBe("running"), WAIT);
  const standby = await it.settle();
  await vi.waitFor(() => expect(standby.status().state).toBe("standby"), WAIT);
  const asked = it.proxy.calls.length;
  await it.verify([alice, bob]);
  leader.nudge();
  await it.allRecorded();
  await vi.waitFor(() => expect(standby.status().lastRecorded).toBe(1), WAIT);
  expect(standby.status()).toEqual({
    state: "standby",
    reason: "coordinator-1 records",
    chainId: 31337,
    contract: it.contract,
    openBatches: 0,
    lastRecorded: 1,
  });
  expect(it.proxy.calls.length).toBeGreaterThan(asked);
  await it.expectExactlyOnce();
  expect(it.warnings).toEqual([]);
});

test("a leader that stops releases the lead at once", async () => {
  const leader = await it.settle();
  await vi.waitFor(() => expect(leader.status().state).toBe("running"), WAIT);
  const standby = await it.settle();
  await leader.stop();
  expect(await it.store.lockHolder("settlement")).not.toMatchObject({ coordinatorId: "coordinator-1" });
  await it.verify([alice]);
  await it.allRecorded();
  await vi.waitFor(() => expect(standby.status()).toMatchObject({ state: "running", lastRecorded: 1 }), WAIT);
  await it.expectExactlyOnce();
});

test("a leader whose own RPC is away lets another try", async () => {
  const init = { rpcUrl: `http://127.0.0.1:${await freePort()}`, contract: it.contract, recorderKey: it.chain.key(1) };
  const cutOff = new EthersChain({ logger: it.logger }, { ...init, chainId: 31337 });
  const leader = it.make(cutOff, it.store);
  await leader.start();
  await vi.waitFor(() => expect(leader.status().state).toBe("waiting"), WAIT);
  const standby = await it.settle();
  await it.verify([alice]);
  await it.allRecorded();
  await vi.waitFor(() => expect(standby.status().state).toBe("running"), WAIT);
  await vi.waitFor(() => expect(leader.status().reason).toBe("coordinator-2 records"), WAIT);
  await leader.stop();
  cutOff.stop();
  await it.expectExactlyOnce();
});

test("when the recorder is rotated while a batch is pending, the coordinator with the new key sends it", async () => {
  await it.chain.provider.send("evm_setAutomine", [false]);
  await it.settle({ resendMs: 200 });
  await it.verify([alice]);
  await vi.waitFor(() => expect(it.count("eth_sendRawTransaction")).toBeGreaterThan(0), WAIT);
  const roleLost = { level: 50, reason: expect.stringContaining("not the contract's recorder") };
  const withNewKey = it.chainOf(2);
  const rotated = it.make(withNewKey, it.store);
  await rotated.start();
  await vi.waitFor(() => expect(rotated.status().state).toBe("standby"), WAIT);
  // In the same block, but before the batch.
  await it.owned().getFunction("setRecorder")(new Wallet(it.chain.key(2)).address, HIGH_FEE);
  await it.mine(1);
  await vi.waitFor(() => expect(it.warnings).toContainEqual(expect.objectContaining(roleLost)), WAIT);
  await it.allRecordedMining();
  await it.expectExactlyOnce();
  expect(rotated.status().state).toBe("running");
  await rotated.stop();
  withNewKey.stop();
});

test("sends a closed batch once the owner unpauses the contract", async () => {
  it.proxy.fault = ({ method }) => (method === "eth_sendRawTransaction" ? "drop" : undefined);
  const settlement = await it.settle();
  await it.verify([alice]);
  await it.reached(1, "closed");
  await (await it.owned().getFunction("pause")()).wait();
  it.proxy.fault = () => undefined;
  await vi.waitFor(() => expect(settlement.status().reason).toContain("EnforcedPause"), WAIT);
  expect(settlement.status().state).toBe("waiting");
  await it.verify([bob]);
  await (await it.owned().getFunction("unpause")()).wait();
  await it.allRecorded();
  await it.expectExactlyOnce();
  expect(it.warnings).toContainEqual(expect.objectContaining({ reason: expect.stringContaining("EnforcedPause") }));
});

test("credits by hand in between do no harm", async () => {
  const settlement = await it.settle();
  for (const wallet of [alice, bob, alice]) {
    await (await it.owned().getFunction("recordCompute")(wallet)).wait();
    await it.verify([alice, bob]);
    settlement.nudge();
    await it.allRecorded();
  }
  await it.expectExactlyOnce(
    new Map([
      [alice, 2n],
      [bob, 1n],
    ]),
  );
  expect(it.warnings).toEqual([]);
});
