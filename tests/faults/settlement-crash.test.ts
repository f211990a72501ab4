import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import type { Chain } from "../../coordinator/src/ports/chain.ts";
import { Mortal } from "../support/mortal.ts";
import { Settling, someWallet } from "../support/settling.ts";

const WAIT = { timeout: 60_000, interval: 5 };

describe.each([
  { name: "before its effect", afterEffect: false },
  { name: "after its effect", afterEffect: true },
])("killed at any call, $name", ({ afterEffect }) => {
  let it: Settling;

  beforeAll(async () => {
    it = await Settling.begin();
  });
  afterAll(async () => {
    await it.end();
  });

  test("every receipt is credited once", async () => {
    const wallets = [someWallet(), someWallet()];
    // Two batches, so that a crash comes also between two.
    const init = { maxReceipts: 1 };
    let died = true;
    let points = 0;
    for (; died; points++) {
      await it.verify(wallets);
      const process = new Mortal(points, afterEffect);
      const doomed = it.make(process.mortal<Chain>(it.ethers), process.mortal(it.store), init);
      const started = doomed.start();
      await Promise.race([started, vi.waitFor(() => expect(process.dead).toBe(true), WAIT)]);
      await vi.waitFor(async () => {
        const { units } = await it.store.totals();
        expect(process.dead || units.recorded === units.verified).toBe(true);
      }, WAIT);
      died = process.dead;
      process.dead = true;
      void doomed.stop();

      const next = await it.settle(init);
      next.nudge();
      await it.allRecorded();
      await next.stop();
      await it.expectExactlyOnce();
    }
    // The whole way from two receipts to two recorded batches was walked: it is far longer than twenty calls.
    expect(points).toBeGreaterThan(20);
  });
});
