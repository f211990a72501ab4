import type { TaskKindName } from "@proof-of-compute/proto";
import { TaskKind } from "@proof-of-compute/proto/task";
import { ScriptedExecutor, scripted } from "@proof-of-compute/tests/support/daemon/scripted-executor";
import { describe, expect, test } from "vitest";
import { Slots } from "./slots.ts";

/** An executor of a kind; without `slots` it takes CPU slots. */
function executorOf(name: TaskKindName, slots?: number) {
  const executor = Object.assign(new ScriptedExecutor(), { kind: { ...scripted, name } });
  executor.slots = slots;
  return executor;
}

const running = (...executors: readonly ScriptedExecutor[]) => executors.map((executor) => ({ executor }));

describe("slots", () => {
  const [one, other, model] = [executorOf("echo"), executorOf("wasm"), executorOf("inference", 2)];
  const slots = new Slots([one, other, model], { cpu: 3, rates: new Map([["inference", 40]]) });

  test("of the processor are shared by kinds, other slots are not", () => {
    expect(slots.total).toBe(5);
    const full = running(one, one, other);
    expect(slots.hasRoomFor(one, full)).toBe(false);
    expect(slots.hasRoomFor(other, full)).toBe(false);
    expect(slots.hasRoomFor(model, full)).toBe(true);
    expect(slots.hasRoomFor(model, running(one, model, model))).toBe(false);
    expect(slots.hasRoomFor(other, running(one, model, model))).toBe(true);
  });

  test("are offered by kind, with the rate if it is known", () => {
    expect(slots.offers(slots.total)).toEqual([
      { kind: TaskKind.TASK_KIND_ECHO, slots: 3 },
      { kind: TaskKind.TASK_KIND_WASM, slots: 3 },
      { kind: TaskKind.TASK_KIND_INFERENCE, slots: 2, unitsPerSecond: 40n },
    ]);
  });

  test("of a kind may change, but offers stay within the slots in Hello", () => {
    const changing = executorOf("inference", 0);
    const changed = new Slots([one, changing], { cpu: 2, rates: new Map() });
    const { total } = changed;
    expect(total).toBe(2);
    expect(changed.hasRoomFor(changing, [])).toBe(false);
    changing.slots = 4;
    expect(changed.total).toBe(6);
    expect(changed.hasRoomFor(changing, running(one, one, changing))).toBe(true);
    expect(changed.offers(total).map((offer) => offer.slots)).toEqual([2, 2]);
  });

  test.each([
    ["none of its own at present", [executorOf("inference", 0)], 1],
    ["more than the protocol allows", [executorOf("echo"), executorOf("inference", 2_000)], 1_024],
  ])("of a node with %s are still within what Hello allows", (_, executors, total) => {
    expect(new Slots(executors, { cpu: 3, rates: new Map() }).total).toBe(total);
  });
});
