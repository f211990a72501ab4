import { aNode } from "@proof-of-compute/tests/conformance/fixtures";
import { expect, test } from "vitest";
import { fromNode, toNode } from "./node-documents.ts";

test("reads a node of the previous version: all slots and one rate for each kind", () => {
  const { offers: _, ...before } = fromNode(aNode(1));
  const offers = aNode(1).offers.map(({ kind }) => ({ kind, slots: 8, unitsPerSecond: 7 }));
  expect(toNode({ ...before, units_per_second: 7 })).toEqual(aNode(1, { offers }));
});
