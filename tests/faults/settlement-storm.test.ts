import type { Store } from "@proof-of-compute/coordinator/ports/store";
import type { SettlementPeers } from "@proof-of-compute/coordinator/services/settlement/lock";
import type { Settlement } from "@proof-of-compute/coordinator/services/settlement/settlement";
import fc from "fast-check";
import { expect, test, vi } from "vitest";
import { Mortal } from "../support/mortal.ts";
import type { RpcFault } from "../support/rpc-proxy.ts";
import { Settling, someWallet } from "../support/settling.ts";

/** Blocks by which finality lags; no reorg is deeper. */
const LAG = 3;
const STEPS = 60;
const FAULTS: readonly RpcFault[] = ["drop", "drop-response", { code: -32000, message: "header not found" }];

/** The next event, and its size. */
const step = fc.record({
  does: fc.constantFrom(
    "verify",
    "verify",
    "verify",
    "mine",
    "mine",
    "reorg",
    "reorg",
    "kill",
    "wipe",
    "calm",
    "storm",
  ),
  amount: fc.integer({ min: 1, max: 3 }),
  diesAt: fc.integer({ min: 0, max: 60 }),
  afterEffect: fc.boolean(),
});

test.each([1, 2, 3])("units are exact after reorgs, wipes, kills and a lossy RPC, seed %i", async (seed) => {
  const it = await Settling.begin({ lag: LAG });
  const wallets = Array.from({ length: 5 }, someWallet);
  const steps = fc.sample(step, { seed, numRuns: STEPS });
  let request = seed;
  let lossy = false;
  it.proxy.fault = () => (lossy && request++ % 7 === 0 ? FAULTS[request % FAULTS.length] : undefined);
  /** Snapshots to revert to, each with its block. */
  let snapshots: { readonly id: string; readonly block: number }[] = [];
  let running: { process: Mortal; settlement: Settlement; peers: SettlementPeers } | undefined;
  const done = { reorg: 0, kill: 0, wipe: 0 };

  const begin = async (diesAt: number, afterEffect: boolean) => {
    const process = new Mortal(diesAt, afterEffect);
    const peers = it.peer();
    const [chain, store] = [process.mortal(it.ethers, "chain"), process.mortal(it.store as Store, "store")];
    const settlement = it.make(chain, store, { maxReceipts: 2, resendMs: 200 }, peers);
    void settlement.start();
    running = { process, settlement, peers };
  };
  const kill = () => {
    running!.process.dead = true;
    it.bury(running!.peers);
    void running!.settlement.stop();
  };

  try {
    await it.mine(LAG);
    await begin(Number.POSITIVE_INFINITY, false);
    for (const { does, amount, diesAt, afterEffect } of steps) {
      const { provider } = it.chain;
      const head = await provider.getBlockNumber();
      const back = snapshots.findLast(({ block }) => block < head);
      if (does === "verify") {
        await it.verify(wallets.slice(0, amount));
        running!.settlement.nudge();
      } else if (does === "mine") await it.mine(amount);
      else if (does === "reorg" && back !== undefined && back.block >= head - LAG + 1) {
        // One block less, for a transaction that is included at this moment.
        await provider.send("evm_revert", [back.id]);
        snapshots = snapshots.slice(0, snapshots.indexOf(back));
        done.reorg++;
      } else if (does === "kill") {
        kill();
        await begin(diesAt, afterEffect);
        done.kill++;
      } else if (does === "wipe" && done.wipe === 0) {
        await it.wipe();
        await it.mine(LAG);
        snapshots = [];
        done.wipe++;
      } else lossy = does === "storm";
      const block = await it.chain.provider.getBlockNumber();
      snapshots.push({ id: await it.chain.provider.send("evm_snapshot", []), block });
      // Gives settlement time for progress, measured by its requests.
      const asked = it.proxy.calls.length;
      await vi.waitFor(() => expect(running!.process.dead || it.proxy.calls.length >= asked + 3).toBe(true), 10_000);
    }
    kill();
    lossy = false;
    const last = await it.settle({ maxReceipts: 2 });
    await vi.waitFor(
      async () => {
        await it.mine(1);
        const { unbatched, units } = await it.store.totals();
        expect([unbatched.count, units.recorded]).toEqual([0, units.verified]);
      },
      { timeout: 60_000, interval: 20 },
    );
    expect(last.status().state).not.toBe("stopped");
    await it.allRecorded();
    await it.expectExactlyOnce();
    expect(Math.min(done.reorg, done.kill), "the seed brings too little to happen").toBeGreaterThan(1);
    expect(it.warnings.filter(({ msg }) => msg.startsWith("settlement stopped"))).toEqual([]);
  } finally {
    await it.end();
  }
});
