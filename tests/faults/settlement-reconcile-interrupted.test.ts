import { toHex } from "@proof-of-compute/proto";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import type { Store } from "../../coordinator/src/ports/store.ts";
import { livingCoordinators } from "../../scripts/lib/reconcile-fix.ts";
import { MemoryStore } from "../conformance/memory-store.ts";
import { BothSides, WAIT } from "../support/both-sides.ts";
import { Mortal } from "../support/mortal.ts";
import { Settling, someWallet } from "../support/settling.ts";

const HOUR = 3_600_000;

let it: Settling;
let sides: BothSides;
const alice = someWallet();
const bob = someWallet();
const carol = someWallet();

beforeEach(async () => {
  it = await Settling.begin();
  sides = new BothSides(it);
});
afterEach(async () => {
  await it.end();
});

describe("reconcile, interrupted", () => {
  test("ended at any of its calls, settlement sends nothing, and the next run ends the work", async () => {
    await sides.verify([alice]);
    await sides.recordAll();
    await sides.verify([bob]);
    await it.assign(carol, Date.now());
    const restore = await it.backup();
    await sides.recordAll();
    await sides.verify([bob, carol]);
    await sides.recordAll();
    await restore();
    await sides.verify([carol], { at: Date.now() + HOUR });
    // The chain goes on in every round, so each begins with the same store and one batch more.
    const again = await it.backup();
    let died = true;
    let points = 0;
    for (; died; points++) {
      await again();
      const process = new Mortal(points, points % 2 === 1);
      const mended = sides.mend(process.mortal<Store>(it.store, "store")).then(() => true);
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
        await sides.mend();
      }
      expect((await sides.report()).agree).toBe(true);
    }
    expect(points).toBeGreaterThan(10);
    await sides.recordAll();
    await sides.expectPaidOnce();
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
