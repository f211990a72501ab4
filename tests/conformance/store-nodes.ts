import { expect, test } from "vitest";
import { AGAIN, ALICE, aNode, BOB, CAROL, HERE, hexOf, THERE } from "./fixtures.ts";
import { readAll } from "./snapshot.ts";
import type { MakeStore } from "./store.ts";

/** Nodes, their owners, and standings. */
export function describeNodes(make: MakeStore): void {
  test("keeps the latest state of a node", async () => {
    const { store } = await make();
    expect(await store.node(hexOf(1, 32))).toBeNull();
    await store.joinNode(aNode(1));
    const changed = aNode(1, {
      wallet: CAROL,
      status: "suspect",
      confirmed: false,
      offers: [],
      slots: 1,
      version: "2",
    });
    for (const node of [changed, { ...changed, offers: aNode(1).offers }, changed]) {
      expect(await store.saveNode(node)).toBe(true);
      expect(await store.node(node.id)).toEqual(node);
    }
    const moved = aNode(1, { owner: THERE });
    await store.joinNode(moved);
    expect(await store.node(moved.id)).toEqual(moved);
  });

  test("lets only the owner of a node change it", async () => {
    const { store } = await make();
    expect(await store.saveNode(aNode(1))).toBe(false);
    expect(await store.node(aNode(1).id)).toBeNull();
    await store.joinNode(aNode(1));
    for (const owner of [AGAIN, THERE]) {
      expect(await store.saveNode(aNode(1, { owner, status: "offline" }))).toBe(false);
    }
    expect(await store.node(aNode(1).id)).toEqual(aNode(1));
    await store.joinNode(aNode(1, { owner: AGAIN }));
    expect(await store.saveNode(aNode(1, { status: "offline" }))).toBe(false);
    expect(await store.node(aNode(1).id)).toEqual(aNode(1, { owner: AGAIN }));
  });

  test("stores when nodes were heard, returns those of other owners, and skips unknown ones", async () => {
    const { store } = await make();
    await store.joinNode(aNode(1));
    await store.joinNode(aNode(2));
    await store.joinNode(aNode(3, { owner: THERE }));
    await store.joinNode(aNode(4, { owner: AGAIN }));
    const lost = await store.saveLastSeen(
      HERE,
      [1, 3, 4, 5].map((n) => ({ id: hexOf(n, 32), lastSeen: 70 + n })),
    );
    expect(lost.toSorted()).toEqual([hexOf(3, 32), hexOf(4, 32)].toSorted());
    expect(await store.node(hexOf(1, 32))).toEqual(aNode(1, { lastSeen: 71 }));
    expect(await store.node(hexOf(2, 32))).toEqual(aNode(2));
    expect(await store.node(hexOf(3, 32))).toEqual(aNode(3, { owner: THERE }));
    expect(await store.node(hexOf(4, 32))).toEqual(aNode(4, { owner: AGAIN }));
    expect(await store.node(hexOf(5, 32))).toBeNull();
    expect(await store.saveLastSeen(HERE, [{ id: hexOf(1, 32), lastSeen: 71 }])).toEqual([]);
    expect(await store.saveLastSeen(HERE, [])).toEqual([]);
  });

  test("sets nodes of dead coordinators to offline", async () => {
    const { store } = await make();
    const nodes = [HERE, AGAIN, THERE].flatMap((owner, i) => [
      aNode(10 * i, { owner }),
      aNode(10 * i + 1, { owner, status: "suspect" }),
      aNode(10 * i + 2, { owner, status: "offline" }),
    ]);
    for (const node of nodes) await store.joinNode(node);
    expect(await store.nodeCounts()).toEqual({ online: 3, suspect: 3, offline: 3 });
    expect(await store.releaseNodes([HERE, AGAIN, THERE])).toBe(0);
    expect(await store.releaseNodes([AGAIN, THERE])).toBe(2);
    expect(await store.node(nodes[1]!.id)).toEqual({ ...nodes[1], status: "offline" });
    expect(await store.nodeCounts()).toEqual({ online: 2, suspect: 2, offline: 5 });
    expect(await store.releaseNodes([AGAIN, THERE])).toBe(0);
    expect(await store.releaseNodes([])).toBe(4);
    expect(await store.nodeCounts()).toEqual({ online: 0, suspect: 0, offline: 9 });
  });

  test("lists nodes by id, of a wallet, of a status and of a coordinator", async () => {
    const { store } = await make();
    const nodes = Array.from({ length: 20 }, (_, n) =>
      aNode(n, {
        wallet: n % 2 ? BOB : CAROL,
        status: n % 3 ? "online" : "offline",
        owner: [HERE, AGAIN, THERE][n % 5] ?? THERE,
      }),
    );
    await Promise.all(nodes.map((node) => store.joinNode(node)));
    const sorted = nodes.toSorted((a, b) => (a.id < b.id ? -1 : 1));
    expect(await readAll((query) => store.nodes(query))).toEqual(sorted);
    expect(await readAll((query) => store.nodes({ ...query, wallet: BOB, status: "offline" }))).toEqual(
      sorted.filter((node) => node.wallet === BOB && node.status === "offline"),
    );
    expect(await readAll((query) => store.nodes({ ...query, coordinatorId: "here" }))).toEqual(
      sorted.filter(({ owner }) => owner.coordinatorId === "here"),
    );
    expect(await store.nodes({ limit: 5, coordinatorId: "nowhere" })).toEqual({ items: [] });
  });

  test("removes nodes that have been offline for long and never earned", async () => {
    const { store } = await make();
    const offline = { status: "offline", lastSeen: 100 } as const;
    const standing = { wallet: BOB, cap: 1, valid: 0, faults: 2 };
    for (const n of [1, 2, 3, 4]) await store.joinNode(aNode(n, offline));
    await store.joinNode(aNode(5, { ...offline, lastSeen: 200 }));
    await store.joinNode(aNode(6, { ...offline, status: "suspect" }));
    await store.saveStandings([
      { ...standing, nodeId: hexOf(1, 32) },
      { ...standing, nodeId: hexOf(2, 32), wallet: ALICE, valid: 1 },
      { ...standing, nodeId: hexOf(2, 32) },
    ]);
    expect(await store.pruneNodes(100, 9)).toBe(0);
    expect(await store.pruneNodes(200, 1)).toBe(1);
    expect(await store.pruneNodes(200, 9)).toBe(2);
    expect(await store.pruneNodes(200, 9)).toBe(0);
    expect((await readAll((query) => store.nodes(query))).map(({ id }) => id).toSorted()).toEqual(
      [2, 5, 6].map((n) => hexOf(n, 32)).toSorted(),
    );
  });

  test("keeps one standing for each pair of node and wallet", async () => {
    const { store } = await make();
    const ofBob = { nodeId: hexOf(1, 32), wallet: BOB, cap: 1, valid: 0, faults: 0 };
    const ofCarol = { ...ofBob, wallet: CAROL, cap: 8, valid: 2 ** 40, faults: 3 };
    await store.saveStandings([ofBob, ofCarol]);
    await store.saveStandings([{ ...ofBob, cap: 2, valid: 1 }]);
    expect(await store.standing(ofBob.nodeId, BOB)).toEqual({ ...ofBob, cap: 2, valid: 1 });
    expect(await store.standing(ofBob.nodeId, CAROL)).toEqual(ofCarol);
    expect(await store.standing(ofBob.nodeId, ALICE)).toBeNull();
  });
}
