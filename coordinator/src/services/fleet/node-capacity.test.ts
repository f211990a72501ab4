import { describe, expect, it } from "vitest";
import { NodeCapacity } from "./node-capacity.ts";

/** An open capacity with a large cap, and what its listener heard. */
function aCapacity(slots: number, slotsOf: Partial<Record<"echo" | "wasm" | "inference", number>>, cap = 1_000) {
  const heard: ("grew" | "shrank")[] = [];
  const capacity = new NodeCapacity((grew) => heard.push(grew ? "grew" : "shrank"));
  capacity.offer(slots, new Map(Object.entries(slotsOf) as ["echo", number][]));
  capacity.limit(cap);
  capacity.setOpen(true);
  const free = () => [capacity.free, capacity.freeOf("echo"), capacity.freeOf("wasm")];
  heard.length = 0;
  return { capacity, free, heard };
}

describe("a node's capacity", () => {
  it("is its slots, less the assignments that compute", () => {
    const { capacity, free } = aCapacity(3, { echo: 3, wasm: 3 });
    capacity.reserve("echo");
    capacity.reserve("wasm");
    expect(free()).toEqual([1, 1, 1]);
    capacity.release("echo");
    expect(free()).toEqual([2, 2, 2]);
  });

  it("has a limit of its own for each kind", () => {
    const { capacity, free } = aCapacity(4, { echo: 4, wasm: 1 });
    expect(free()).toEqual([4, 4, 1]);
    capacity.reserve("wasm");
    expect(free()).toEqual([3, 3, 0]);
    for (let i = 0; i < 3; i++) capacity.reserve("echo");
    capacity.release("wasm");
    expect(free()).toEqual([1, 1, 1]);
  });

  it("is not there for kinds that the node does not offer, nor for slots that no kind can use", () => {
    const { capacity, free } = aCapacity(4, { echo: 0, wasm: 1 });
    expect(capacity.freeOf("inference")).toBe(0);
    expect(free()).toEqual([1, 0, 1]);
    capacity.reserve("wasm");
    expect(free()).toEqual([0, 0, 0]);
  });

  it("counts results that are being checked towards the cap, not towards the slots", () => {
    const { capacity, free } = aCapacity(2, { echo: 2 }, 3);
    capacity.reserve("echo");
    capacity.reserve("echo");
    expect(capacity.free).toBe(0);
    capacity.startCheck("echo");
    capacity.startCheck("echo");
    expect([capacity.free, capacity.checking]).toEqual([1, 2]);
    capacity.endCheck();
    expect(free()).toEqual([2, 2, 0]);
  });

  it("never has a cap above twice its slots", () => {
    const { capacity } = aCapacity(2, { echo: 2 });
    expect(capacity.cap).toBe(4);
    capacity.limit(1);
    expect([capacity.cap, capacity.free]).toEqual([1, 1]);
  });

  it("is nothing while it is closed", () => {
    const { capacity, free } = aCapacity(2, { echo: 2 });
    capacity.setOpen(false);
    expect(free()).toEqual([0, 0, 0]);
  });

  it("stays at zero when a node offers less than it runs", () => {
    const { capacity, free } = aCapacity(4, { echo: 4 });
    for (let i = 0; i < 3; i++) capacity.reserve("echo");
    capacity.offer(4, new Map([["echo", 1]]));
    expect(free()).toEqual([0, 0, 0]);
    for (let i = 0; i < 3; i++) capacity.release("echo");
    expect(free()).toEqual([1, 1, 0]);
  });

  it("tells its listener whether a change made room or took it", () => {
    const { capacity, heard } = aCapacity(2, { echo: 2 }, 2);
    capacity.reserve("echo");
    capacity.startCheck("echo");
    capacity.endCheck();
    capacity.limit(4);
    capacity.limit(4);
    capacity.limit(1);
    capacity.setOpen(true);
    capacity.setOpen(false);
    expect(heard).toEqual(["shrank", "grew", "grew", "grew", "shrank", "shrank"]);
  });
});
