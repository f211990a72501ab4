import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { hasUnfinalBatches, readChainLedger } from "../../scripts/lib/reconcile-chain.ts";
import { compare } from "../../scripts/lib/reconcile-report.ts";
import { connect } from "../../scripts/lib/verify-cli.ts";
import { BothSides } from "../support/both-sides.ts";
import { Settling, someWallet } from "../support/settling.ts";

let it: Settling;
let sides: BothSides;
const alice = someWallet();
const bob = someWallet();

beforeEach(async () => {
  it = await Settling.begin();
  sides = new BothSides(it);
});
afterEach(async () => {
  await it.end();
});

describe("reconcile, reading the chain", () => {
  test("an RPC that keeps events back is found out", async () => {
    await sides.verify([alice, bob]);
    await sides.recordAll();
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

  test("what no final block holds yet is waited for", async () => {
    it.proxy.lag = 3;
    const rpc = connect(it.proxy.url);
    try {
      await it.mine(5);
      await sides.verify([alice]);
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
});
