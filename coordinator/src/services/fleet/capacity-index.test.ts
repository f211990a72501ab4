import { aLink, anOffer, begin } from "@proof-of-compute/tests/support/fleet";
import { describe, expect, it } from "vitest";
import { CapacityIndex } from "./capacity-index.ts";
import { LiveNode } from "./live-node.ts";
import type { Offer } from "./offer.ts";

/** An index with nodes that are online and have earned all their slots. */
function anIndex(...offers: Offer[]) {
  const index = new CapacityIndex();
  const nodes = offers.map((offer) => {
    const node = new LiveNode(offer, (changed) => index.update(changed));
    node.connect(offer, aLink(), { cap: 100, valid: 0, faults: 0 });
    node.setStatus("online");
    node.welcome();
    return node;
  });
  /** Finds a node for a task of a kind, and counts the nodes that it looked at. */
  const find = (
    kind: "matmul" | "echo",
    { tried = [], fits, draw = 0 }: { tried?: LiveNode[]; fits?: (node: LiveNode) => boolean; draw?: number } = {},
  ) => {
    let looks = 0;
    const look = (node: LiveNode) => {
      looks++;
      return fits?.(node) ?? true;
    };
    const found = index.find({ kind, tried: new Set(tried.map(({ id }) => id)), fits: look }, () => draw);
    return { found, looks };
  };
  return { index, nodes, find };
}

describe("the index of free capacity", () => {
  it("looks at no node without capacity for the kind, however much it has for another", () => {
    const { find, nodes } = anIndex(
      ...Array.from({ length: 50 }, () => anOffer({ kinds: ["matmul"] })),
      anOffer({ kinds: ["echo"], slots: 1 }),
    );
    const only = nodes.at(-1)!;
    expect(find("echo").found).toBe(only);
    begin(only, "echo");
    expect(find("echo")).toEqual({ found: undefined, looks: 0 });
    expect(find("matmul").found).toBeDefined();
  });

  it("follows what a node offers", () => {
    const { index, find, nodes } = anIndex(anOffer({ kinds: ["matmul", "echo"], slots: 2 }));
    const [node] = nodes as [LiveNode];
    expect(index.free(100)).toBe(2);
    node.reoffer([
      { kind: "matmul", slots: 0 },
      { kind: "echo", slots: 1 },
    ]);
    expect([index.free(100), find("matmul").found, find("echo").found]).toEqual([1, undefined, node]);
    node.connect(anOffer({ nodeId: node.id, kinds: ["matmul"] }), aLink(), null);
    node.welcome();
    expect([find("matmul").found, find("echo").found]).toEqual([node, undefined]);
  });

  it("chooses the less occupied of two random nodes", () => {
    const { index, nodes } = anIndex(anOffer(), anOffer());
    const [busy, idle] = nodes as [LiveNode, LiveNode];
    begin(busy);
    let draws = 0;
    const query = { kind: "matmul", tried: new Set<never>(), fits: () => true } as const;
    expect(index.find(query, () => (draws++ % 2 ? 0.9 : 0))).toBe(idle);
  });

  it("chooses a node that tried before only when no other fits", () => {
    const { find, nodes } = anIndex(anOffer(), anOffer(), anOffer());
    const [first, second, third] = nodes as [LiveNode, LiveNode, LiveNode];
    expect(find("matmul", { tried: [first, second] }).found).toBe(third);
    expect(find("matmul", { tried: [first], fits: (node) => node === first }).found).toBe(first);
  });

  it("sums up capacity to a limit", () => {
    const { index, nodes } = anIndex(anOffer({ slots: 4 }), anOffer({ slots: 4 }));
    begin(nodes[0]!);
    expect([index.free(100), index.free(5), index.free(1)]).toEqual([7, 5, 1]);
    nodes[1]!.disconnect();
    expect(index.free(100)).toBe(3);
  });
});
