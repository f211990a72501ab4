import type { Chain } from "@proof-of-compute/coordinator/ports/chain";
import type { Store } from "@proof-of-compute/coordinator/ports/store";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { Mortal } from "../support/mortal.ts";
import { seededRandom } from "../support/process.ts";
import { Settling, someWallet } from "../support/settling.ts";

const WAIT = { timeout: 60_000, interval: 5 };
/**
 * Each seed walks over all steps; 1 to 4 make every stop at every step. SETTLEMENT_SEEDS=1,2,3,4 also prints how often.
 */
const SEEDS = (process.env.SETTLEMENT_SEEDS ?? "1").split(",").map(Number);
/** How a leader stops at a step: for good or for a while, before or after the step takes effect. */
const STOPS = [
  { how: "killed", after: false },
  { how: "paused", after: true },
  { how: "killed", after: true },
  { how: "paused", after: false },
] as const;
const stops = new Map<string, number>();

afterAll(() => {
  if (process.env.SETTLEMENT_SEEDS === undefined) return;
  const rows = [...stops].toSorted().map(([step, count]) => `${String(count).padStart(4)}  ${step}`);
  const total = [...stops.values()].reduce((sum, count) => sum + count, 0);
  console.log([`${total} stops of the leader of settlement, by step:`, ...rows].join("\n"));
});

describe.each(SEEDS)("a leader that is killed or paused at any of its steps, seed %i", (seed) => {
  let it: Settling;

  beforeAll(async () => {
    it = await Settling.begin();
  });
  afterAll(async () => {
    await it.end();
  });

  test("is replaced by another leader, and every receipt is credited once", async () => {
    const random = seededRandom(seed);
    const wallets = Array.from({ length: 2 + Math.floor(random() * 3) }, someWallet);
    const init = { maxReceipts: 1 + Math.floor(random() * 2), pollMs: 5 };
    let died = true;
    let points = 0;
    for (; died; points++) {
      // At least two batches, so that it also stops between two.
      await it.verify([...wallets.slice(0, init.maxReceipts), wallets[points % wallets.length]!]);
      const { how, after } = STOPS[(points + seed) % STOPS.length]!;
      const process = new Mortal(points, after);
      const peers = it.peer();
      const [chain, store] = [process.mortal<Chain>(it.ethers, "chain"), process.mortal<Store>(it.store, "store")];
      const leader = it.make(chain, store, init, peers);
      void leader.start();
      const leads = async () => (await it.store.lockHolder("settlement"))?.incarnation === peers.self.incarnation;
      await vi.waitFor(async () => expect(process.dead || (await leads())).toBe(true), WAIT);
      const standby = await it.settle(init);
      const recorded = async () => {
        const { units } = await it.store.totals();
        return units.recorded === units.verified;
      };
      await vi.waitFor(async () => expect(process.dead || (await recorded())).toBe(true), WAIT);
      died = process.dead;
      const step = `${how} ${process.lastStep}`;
      if (died) stops.set(step, (stops.get(step) ?? 0) + 1);
      else process.dead = true;
      it.bury(peers);
      await it.allRecorded();
      if (how === "paused") {
        // It resumes with its old state, while the other one leads.
        process.revive();
        await it.verify(wallets);
        standby.nudge();
        await it.allRecorded();
        await leader.stop();
      } else void leader.stop();
      await standby.stop();
      expect([leader, standby].map((settlement) => settlement.status().state)).not.toContain("stopped");
    }
    await it.expectExactlyOnce();
    // The walk covers everything from receipts to two recorded batches, which takes far more than thirty calls.
    expect(points).toBeGreaterThan(30);
  });
});
