import { randomBytes } from "node:crypto";
import { hasUnfinalBatches, readChainLedger } from "@proof-of-compute/coordinator/commands/reconcile/chain";
import { compare } from "@proof-of-compute/coordinator/commands/reconcile/report";
import { toHex } from "@proof-of-compute/proto";
import { beforeEach, describe, expect, test } from "vitest";
import { connect } from "../../scripts/lib/verify-cli.ts";
import { someWallet } from "../support/settling.ts";
import { it, sides, useSettling } from "../support/use-settling.ts";

const alice = someWallet();
const bob = someWallet();

useSettling();

describe("reconcile, reading the chain", () => {
  test("detects an RPC that withholds events", async () => {
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

  test("waits for batches that are not final", async () => {
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

  describe("from a full node, which keeps the state of the last 128 blocks", () => {
    const STATES = 128;
    /** Blocks, and other events, that come before a request is answered. */
    let meanwhile: (method: string) => Promise<unknown>;

    beforeEach(() => {
      it.proxy.fault = async ({ method, params }) => {
        await meanwhile(method);
        const [, block] = params as [unknown, string];
        if (method !== "eth_call" || !block.startsWith("0x")) return undefined;
        const age = (await it.chain.provider.getBlockNumber()) - Number(block);
        return age < STATES ? undefined : { code: -32_000, message: "missing trie node" };
      };
    });

    async function read() {
      const rpc = connect(it.proxy.url);
      try {
        return await readChainLedger(rpc, { contract: it.contract, fromBlock: 0 });
      } finally {
        rpc.destroy();
      }
    }

    test("reads a long history up to blocks that still have their state", async () => {
      meanwhile = async () => undefined;
      await sides.verify([alice]);
      await sides.recordAll();
      await it.mine(10_000);
      await sides.verify([bob]);
      await sides.recordAll();
      meanwhile = async (method) => method === "eth_getLogs" && it.mine(100);
      const { block, batches } = await read();
      expect(batches).toMatchObject([{ id: 1 }, { id: 2 }]);
      expect((await it.chain.provider.getBlockNumber()) - block).toBeLessThan(STATES);
    });

    test("reads many wallets, and again those that were credited meanwhile", async () => {
      const wallets = Array.from({ length: 300 }, someWallet);
      await (
        await it.recorded().getFunction("recordBatch")(
          1,
          toHex(randomBytes(32)),
          wallets.map((one) => [one, 1]),
        )
      ).wait();
      let calls = 0;
      meanwhile = async (method) => {
        if (method !== "eth_call") return;
        if (++calls === 250) await (await it.owned().getFunction("recordCompute")(wallets[0])).wait();
        if (calls % 2 === 0) await it.mine(1);
      };
      const ledger = await read();
      expect(ledger.batches).toMatchObject([{ id: 1, units: 300n }]);
      expect(ledger.wallets.size).toBe(300);
      expect(ledger.wallets.get(wallets[0]!)).toEqual({ units: 2n, byHand: 1n });
      const asked = it.proxy.calls.filter(({ method }) => method === "eth_call").length;
      expect(asked).toBe(302);
    });
  });
});
