import { TASK_KINDS } from "@proof-of-compute/proto";
import type { KindOffer } from "@proof-of-compute/proto/node";
import { TaskKind } from "@proof-of-compute/proto/task";
import { describe, expect, it } from "vitest";
import { type OfferTerms, readOffers } from "./offers.ts";

const { echo, wasm, inference } = TASK_KINDS as Record<keyof typeof TASK_KINDS, TaskKind>;
const terms: OfferTerms = { kinds: [wasm, echo, inference], slots: 8, unitsPerSecond: 100n };
const KNOWN = ["echo", "wasm"] as const;
const entry = (kind: TaskKind, slots: number, unitsPerSecond?: bigint): KindOffer => ({ kind, slots, unitsPerSecond });

describe("offers by kind", () => {
  it("are all slots at one rate for each kind of a node that says no more", () => {
    expect(readOffers(terms, [], KNOWN)).toEqual([
      { kind: "echo", slots: 8, unitsPerSecond: 100 },
      { kind: "wasm", slots: 8, unitsPerSecond: 100 },
    ]);
    expect(readOffers({ ...terms, unitsPerSecond: undefined }, [], KNOWN)[0]).toEqual({ kind: "echo", slots: 8 });
  });

  it("stand in the place of that for the kinds that have an entry", () => {
    expect(readOffers(terms, [entry(wasm, 2, 7n), entry(inference, 1)], KNOWN)).toEqual([
      { kind: "echo", slots: 8, unitsPerSecond: 100 },
      { kind: "wasm", slots: 2, unitsPerSecond: 7 },
    ]);
    // A kind with an entry of its own does not take the rate of the node.
    expect(readOffers(terms, [entry(echo, 0)], KNOWN)[0]).toEqual({ kind: "echo", slots: 0 });
  });

  it("have a rate that a number can hold", () => {
    const [offer] = readOffers(terms, [entry(echo, 1, 2n ** 64n - 1n)], KNOWN);
    expect(offer!.unitsPerSecond).toBe(Number.MAX_SAFE_INTEGER);
  });

  it("leave out kinds that the node does not serve", () => {
    expect(readOffers({ ...terms, kinds: [wasm] }, [], KNOWN).map(({ kind }) => kind)).toEqual(["wasm"]);
    expect(readOffers({ ...terms, kinds: [inference] }, [], KNOWN)).toEqual([]);
  });

  it.each([
    ["of a kind that the node does not serve", [entry(TaskKind.TASK_KIND_UNSPECIFIED, 1)], "a kind in `kinds`"],
    ["twice of one kind", [entry(wasm, 1), entry(wasm, 1)], "a kind has one offer"],
    ["of more slots than the node has", [entry(inference, 9)], "slots of a kind"],
  ])("break the protocol when they are %s", (_, entries, detail) => {
    expect(() => readOffers(terms, entries, KNOWN)).toThrow(
      expect.objectContaining({ code: "PROTOCOL_VIOLATION", message: expect.stringContaining(detail) }),
    );
  });
});
