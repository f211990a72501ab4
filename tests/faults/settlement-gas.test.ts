import { BatchTooLarge } from "@proof-of-compute/coordinator/ports/chain";
import { toHex } from "@proof-of-compute/proto";
import { Transaction, toQuantity } from "ethers";
import { expect, test, vi } from "vitest";
import { someWallet } from "../support/settling.ts";
import { it, useSettling } from "../support/use-settling.ts";
import { xdcRules } from "../support/xdc-rules.ts";

const WAIT = { timeout: 60_000, interval: 10 };
const GWEI = 10n ** 9n;
/** XDC's price of a unit of gas. */
const USUAL = (25n * GWEI) / 2n;

const alice = someWallet();
const bob = someWallet();
const reasons = () => it.warnings.map(({ reason }) => reason ?? "").join("\n");

/** Makes the chain as strict as XDC, with a variable price. */
function strict(minGasPrice = USUAL) {
  const rules = { minGasPrice };
  it.proxy.fault = xdcRules(() => it.chain.provider, rules);
  return rules;
}

/** Every sent transaction, in order. */
function transactions(): Transaction[] {
  const raws = it.proxy.calls
    .filter(({ method }) => method === "eth_sendRawTransaction")
    .map(({ params }) => params[0]);
  return raws.map((raw) => Transaction.from(raw as string));
}

useSettling();

test("a batch of 500 wallets fits XDC's limits of 64 KB and one coin; a larger one is refused before it is stored", async () => {
  strict();
  const batchOf = (wallets: number) => ({
    id: 1,
    root: toHex(new Uint8Array(32).fill(7)),
    credits: Array.from({ length: wallets }, () => ({ provider: someWallet(), units: 5n })),
  });
  await expect(it.ethers.estimate(batchOf(1_100))).rejects.toThrow(BatchTooLarge);
  const batch = batchOf(500);
  await it.ethers.estimate(batch);
  await it.ethers.send(batch);
  expect(await it.ethers.rootOf(1, "latest")).toBe(batch.root);
});

test("makes smaller batches while gas is expensive, and logs that", async () => {
  const rules = strict(1_500n * GWEI);
  await it.verify(Array.from({ length: 40 }, someWallet));
  const settlement = await it.settle();
  await it.allRecorded();
  await it.expectExactlyOnce();
  const sizes = (await it.store.batches({ limit: 100 })).items.map(({ credits }) => credits.length);
  expect(Math.max(...sizes)).toBeLessThan(40);
  expect(it.warnings[0]).toMatchObject({ msg: "batch too large for the chain, trying a smaller one", wallets: 40 });

  // A closed batch does not change: it waits until its gas is affordable.
  rules.minGasPrice = USUAL;
  const fault = it.proxy.fault;
  it.proxy.fault = (request) => (request.method === "eth_sendRawTransaction" ? "drop" : fault(request));
  await it.verify(Array.from({ length: 40 }, someWallet));
  settlement.nudge();
  const { id } = await vi.waitFor(async () => {
    const last = await it.lastBatch();
    expect(last).toMatchObject({ state: "closed" });
    return last!;
  }, WAIT);
  rules.minGasPrice = 1_500n * GWEI;
  it.proxy.fault = fault;
  await vi.waitFor(() => expect(settlement.status().reason).toMatch(/batch \d+ may cost .* which no node takes/), WAIT);
  rules.minGasPrice = USUAL;
  await it.reached(id, "recorded");
  await it.allRecorded();
  await it.expectExactlyOnce();
});

test("replaces a pending transaction at the new price when the fee tier rises", async () => {
  const rules = strict();
  await it.chain.provider.send("evm_setAutomine", [false]);
  const settlement = await it.settle({ resendMs: 100 });
  await it.verify([alice]);
  settlement.nudge();
  await vi.waitFor(() => expect(transactions()).toHaveLength(1), WAIT);
  rules.minGasPrice = 20n * USUAL;
  await vi.waitFor(() => expect(transactions().at(-1)!.maxFeePerGas).toBeGreaterThanOrEqual(20n * USUAL), WAIT);
  expect(new Set(transactions().map(({ nonce }) => nonce)).size).toBe(1);
  await it.allRecordedMining();
  await it.expectExactlyOnce();
});

test("reports a fee tier that rises between estimate and sending, and pays it at the next attempt", async () => {
  const rules = strict();
  const fault = it.proxy.fault;
  let raised = false;
  it.proxy.fault = (request) => {
    if (request.method === "eth_sendRawTransaction" && !raised) {
      raised = true;
      rules.minGasPrice = 20n * USUAL;
    }
    return fault(request);
  };
  await it.settle();
  await it.verify([alice]);
  await it.allRecorded();
  await it.expectExactlyOnce();
  expect(reasons()).toContain("under min gas price");
});

test("never replaces at a higher cost than nodes accept", async () => {
  strict(600n * GWEI);
  await it.chain.provider.send("evm_setAutomine", [false]);
  await it.verify(Array.from({ length: 15 }, someWallet));
  const settlement = await it.settle({ resendMs: 1 });
  await vi.waitFor(() => expect(transactions().length).toBeGreaterThan(20), WAIT);
  const costs = transactions().map(({ gasLimit, maxFeePerGas }) => gasLimit * maxFeePerGas!);
  expect(costs.every((cost) => cost <= 10n ** 18n)).toBe(true);
  expect(costs.at(-1)).toBeGreaterThan(costs[0]!);
  expect(settlement.status().state).toBe("running");
  await it.allRecordedMining();
  await it.expectExactlyOnce();
  expect(reasons()).not.toContain("cap");
});

test("says how much the recorder lacks between two batches, and continues once it has that", async () => {
  const { recorder } = await it.ethers.identify();
  const settlement = await it.settle();
  await it.verify([alice]);
  await it.allRecorded();
  await it.chain.provider.send("hardhat_setBalance", [recorder, toQuantity(10n ** 12n)]);
  await it.verify([alice, bob]);
  settlement.nudge();
  await vi.waitFor(() => expect(settlement.status().state).toBe("waiting"), WAIT);
  expect(settlement.status().reason).toMatch(
    new RegExp(`${recorder} holds 0.000001, and the next batch may cost 0.\\d+`),
  );
  await it.chain.provider.send("hardhat_setBalance", [recorder, toQuantity(10n ** 18n)]);
  await it.allRecorded();
  await it.expectExactlyOnce();
});

test("reports a nonce that is too far ahead for XDC, and asks for it again", async () => {
  strict();
  let lies = 2;
  it.proxy.rewrite = ({ method }, result) => (method === "eth_getTransactionCount" && lies-- > 0 ? "0x63" : result);
  const settlement = await it.settle();
  await it.verify([alice]);
  settlement.nudge();
  await it.allRecorded();
  await it.expectExactlyOnce();
  expect(reasons()).toContain("nonce too high");
});
