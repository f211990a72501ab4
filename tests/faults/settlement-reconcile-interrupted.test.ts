import { randomBytes } from "node:crypto";
import { MemoryStore } from "@proof-of-compute/coordinator/adapters/memory/store";
import { livingCoordinators } from "@proof-of-compute/coordinator/commands/reconcile/fix";
import type { Receipt } from "@proof-of-compute/coordinator/domain/receipt";
import { liveAssignment, takeOver } from "@proof-of-compute/coordinator/domain/task";
import type { Store } from "@proof-of-compute/coordinator/ports/store";
import { toHex } from "@proof-of-compute/proto";
import { describe, expect, test, vi } from "vitest";
import { WAIT } from "../support/both-sides.ts";
import { Mortal } from "../support/mortal.ts";
import { someWallet } from "../support/settling.ts";
import { it, sides, useSettling } from "../support/use-settling.ts";

const HOUR = 3_600_000;

const alice = someWallet();
const bob = someWallet();
const carol = someWallet();

useSettling();

/**
 * A store that lacks one batch, and cannot find it again. It has one of the batch's two receipts, and of the other only
 * the live attempt. `restore` restores that state.
 */
async function lackOneBatch() {
  await sides.verify([alice]);
  await sides.recordAll();
  const [kept] = await sides.verify([bob]);
  const { receipt: forgotten } = await it.assign(carol, Date.now());
  const restore = await it.backup();
  await it.comeIn(forgotten);
  sides.owe(forgotten);
  await sides.recordAll();
  return { kept: kept!, forgotten, restore };
}

/** The node joins another coordinator, which takes over the attempt. */
async function adopt({ taskId }: Receipt): Promise<void> {
  const task = (await it.store.task(taskId))!;
  const owner = { coordinatorId: "coordinator-2", incarnation: toHex(randomBytes(16)) };
  if (liveAssignment(task)) expect(await it.store.saveTask(takeOver(task, owner))).toBe(true);
}

/** Whether the process stops before its work is done. */
async function stops(process: Mortal, work: Promise<void>): Promise<boolean> {
  const stopped = vi.waitFor(() => expect(process.dead).toBe(true), { timeout: 60_000, interval: 1 });
  stopped.catch(() => undefined);
  return Promise.race([stopped.then(() => true), work.then(() => false)]);
}

describe("reconcile, interrupted", () => {
  test("after a stop at any call, settlement sends nothing, and the next run finishes the work", async () => {
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
    // Each round adds a batch to the chain, so it starts with the same store and one batch more.
    const again = await it.backup();
    let died = true;
    let points = 0;
    for (; died; points++) {
      await again();
      const process = new Mortal(points, points % 2 === 1);
      died = await stops(process, sides.mend(process.mortal<Store>(it.store, "store")));
      const sent = it.count("eth_sendRawTransaction");
      if (died) {
        const settlement = await it.settle();
        await vi.waitFor(() => expect(["stopped", "running"]).toContain(settlement.status().state), WAIT);
        await settlement.stop();
        // Except if it stopped after its last change.
        if (settlement.status().state === "stopped") expect(it.count("eth_sendRawTransaction")).toBe(sent);
        await sides.mend();
      }
      expect((await sides.report()).agree).toBe(true);
    }
    expect(points).toBeGreaterThan(10);
    await sides.recordAll();
    await sides.expectPaidOnce();
  });

  test("after a stop at any call, settlement continues only when no credited receipt is left", async () => {
    const { kept, forgotten, restore } = await lackOneBatch();
    const sent = it.count("eth_sendRawTransaction");
    const states = new Set<string>();
    for (let died = true, point = 0; died; point++) {
      await restore();
      const process = new Mortal(point);
      died = await stops(process, sides.mend(process.mortal<Store>(it.store, "store")));
      const settlement = await it.settle();
      const { state } = await vi.waitFor(() => {
        expect(["stopped", "running"]).toContain(settlement.status().state);
        return settlement.status();
      }, WAIT);
      await settlement.stop();
      states.add(state);
      if (state === "running") {
        expect(
          (await sides.inQuarantine()).map(({ receiptId }) => receiptId),
          process.lastStep,
        ).toEqual([kept.receiptId]);
        expect(await it.store.task(forgotten.taskId), process.lastStep).toMatchObject({ state: "queued" });
      }
      expect(it.count("eth_sendRawTransaction"), process.lastStep).toBe(sent);
    }
    expect([...states]).toEqual(["stopped", "running"]);
    await sides.expectPaidOnce();
  });

  test.each([
    ["comes again", (forgotten: Receipt) => it.comeIn(forgotten)],
    ["goes to a coordinator that starts", (forgotten: Receipt) => adopt(forgotten)],
  ])("an attempt whose result was credited %s at any of its calls: it is credited once", async (_, meanwhile) => {
    const { forgotten, restore } = await lackOneBatch();
    // Accepted again, later than any batch that may carry it.
    const again = { ...forgotten, acceptedAt: Date.now() + HOUR };
    let stopped = true;
    let points = 0;
    for (; stopped; points++) {
      await restore();
      const process = new Mortal(points);
      const mended = sides.mend(process.mortal<Store>(it.store, "store"));
      stopped = await stops(process, mended);
      if (stopped) await meanwhile(again);
      process.revive();
      await mended;
      await it.comeIn(again);
      expect(await it.store.unbatched(), process.calls[points]).toEqual({ count: 0 });
      expect((await sides.report()).agree).toBe(true);
    }
    expect(points).toBeGreaterThan(5);
    await sides.verify([alice, carol]);
    await sides.recordAll();
    await sides.expectPaidOnce();
  });

  test("recognizes living coordinators by their beat, whatever the clocks say", async () => {
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
    const known = await store.coordinators();
    expect(await livingCoordinators(store, known)).toEqual([]);
    await store.beat(record("alive"));
    await store.register(record("new"));
    expect(await livingCoordinators(store, known)).toEqual(["alive", "new"]);
    await store.register({ ...record("dead"), incarnation: toHex(randomBytes(16)) });
    expect(await livingCoordinators(store, known)).toEqual(["alive", "dead", "new"]);
  });
});
