import { aLink, aLiveNode, anOffer, begin } from "@proof-of-compute/tests/support/fleet";
import { describe, expect, it } from "vitest";
import { CapacityIndex } from "./capacity-index.ts";
import type { LiveNode } from "./live-node.ts";
import type { Offer } from "./offer.ts";

/** An index with nodes that are online and have earned all their slots. */
function anIndex(...offers: Offer[]) {
  const index = new CapacityIndex();
  const nodes: LiveNode[] = offers.map((offer) => aLiveNode(offer, (changed) => index.update(changed)));
  /** Finds a node for a task of a kind, and counts the nodes that it looked at. */
  const find = (
    kind: "echo" | "wasm",
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
      ...Array.from({ length: 50 }, () => anOffer({ kinds: ["echo"] })),
      anOffer({ kinds: ["wasm"], slots: 1 }),
    );
    const only = nodes.at(-1)!;
    expect(find("wasm").found).toBe(only);
    begin(only, "wasm");
    expect(find("wasm")).toEqual({ found: undefined, looks: 0 });
    expect(find("echo").found).toBeDefined();
  });

  it("follows what a node offers", () => {
    const { index, find, nodes } = anIndex(anOffer({ kinds: ["echo", "wasm"], slots: 2 }));
    const [node] = nodes as [LiveNode];
    expect(index.free(100)).toBe(2);
    node.reoffer([
      { kind: "echo", slots: 0 },
      { kind: "wasm", slots: 1 },
    ]);
    expect([index.free(100), find("echo").found, find("wasm").found]).toEqual([1, undefined, node]);
    node.connect(anOffer({ nodeId: node.id, kinds: ["echo"] }), aLink(), null);
    node.welcome();
    expect([find("echo").found, find("wasm").found]).toEqual([node, undefined]);
  });

  it("chooses the less occupied of two random nodes", () => {
    const { index, nodes } = anIndex(anOffer(), anOffer());
    const [busy, idle] = nodes as [LiveNode, LiveNode];
    begin(busy);
    let draws = 0;
    const query = { kind: "echo", tried: new Set<never>(), fits: () => true } as const;
    expect(index.find(query, () => (draws++ % 2 ? 0.9 : 0))).toBe(idle);
  });

  it("chooses a node that tried before only when no other fits", () => {
    const { find, nodes } = anIndex(anOffer(), anOffer(), anOffer());
    const [first, second, third] = nodes as [LiveNode, LiveNode, LiveNode];
    expect(find("echo", { tried: [first, second] }).found).toBe(third);
    expect(find("echo", { tried: [first], fits: (node) => node === first }).found).toBe(first);
  });

  it("sums up capacity to a limit", () => {
    const { index, nodes } = anIndex(anOffer({ slots: 4 }), anOffer({ slots: 4 }));
    begin(nodes[0]!);
    expect([index.free(100), index.free(5), index.free(1)]).toEqual([7, 5, 1]);
    nodes[1]!.disconnect();
    expect(index.free(100)).toBe(3);
  });
});
