import { expect, test } from "vitest";
import { AGAIN, aCoordinator, HERE, THERE } from "./fixtures.ts";
import type { MakeStore } from "./store.ts";

/** Coordinators' records, locks and secrets. */
export function describeCluster(make: MakeStore): void {
  test("lists coordinators by id, with their latest records", async () => {
    const { store } = await make();
    await store.register(aCoordinator(THERE));
    await store.register(aCoordinator(HERE));
    expect(await store.coordinators()).toEqual([aCoordinator(HERE), aCoordinator(THERE)]);
    const restarted = aCoordinator(AGAIN, { address: "https://elsewhere:8443", version: "0.2.0", startedAt: 9 });
    await store.register(restarted);
    expect(await store.coordinators()).toEqual([restarted, aCoordinator(THERE)]);
    await store.deregister(HERE);
    expect(await store.coordinators()).toEqual([restarted, aCoordinator(THERE)]);
    await store.deregister(AGAIN);
    await store.deregister(AGAIN);
    expect(await store.coordinators()).toEqual([aCoordinator(THERE)]);
  });

  test("increments a coordinator's beat, but not for an earlier run", async () => {
    const { store } = await make();
    const beatOf = async (id: string) => (await store.coordinators()).find((c) => c.coordinatorId === id)!.beat;
    expect(await store.beat(HERE)).toBe(false);
    await store.register(aCoordinator(HERE));
    await store.register(aCoordinator(THERE));
    let beat = await beatOf("here");
    for (let n = 0; n < 3; n++) {
      expect(await store.beat(HERE)).toBe(true);
      expect(await beatOf("here")).toBeGreaterThan(beat);
      beat = await beatOf("here");
    }
    expect(await beatOf("there")).toBe(1);
    await store.register(aCoordinator(AGAIN));
    expect(await store.beat(HERE)).toBe(false);
    expect(await beatOf("here")).toBe(1);
    expect(await store.beat(AGAIN)).toBe(true);
    await store.deregister(AGAIN);
    expect(await store.beat(AGAIN)).toBe(false);
  });

  test("gives a lock to one holder at a time", async () => {
    const { store } = await make();
    expect(await store.lockHolder("settlement")).toBeNull();
    expect(await store.takeLock("settlement", HERE, THERE)).toBe(false);
    const takers = [HERE, THERE, AGAIN];
    const taken = await Promise.all(takers.map((owner) => store.takeLock("settlement", owner, null)));
    expect(taken.filter(Boolean)).toHaveLength(1);
    const holder = takers[taken.indexOf(true)]!;
    expect(await store.lockHolder("settlement")).toEqual(holder);
    expect(await store.lockHolder("retention")).toBeNull();
    expect(await store.takeLock("retention", THERE, null)).toBe(true);
    expect(await store.takeLock("settlement", holder, null)).toBe(false);
    const heirs = takers.filter((owner) => owner !== holder);
    const inherited = await Promise.all(heirs.map((owner) => store.takeLock("settlement", owner, holder)));
    expect(inherited.filter(Boolean)).toHaveLength(1);
    const heir = heirs[inherited.indexOf(true)]!;
    expect(await store.lockHolder("settlement")).toEqual(heir);
    await store.releaseLock("settlement", holder);
    expect(await store.lockHolder("settlement")).toEqual(heir);
    await store.releaseLock("settlement", heir);
    await store.releaseLock("settlement", heir);
    expect(await store.lockHolder("settlement")).toBeNull();
    expect(await store.lockHolder("retention")).toEqual(THERE);
  });

  test("draws a secret once", async () => {
    const { store, reopen } = await make();
    const drawn = await Promise.all(Array.from({ length: 8 }, () => store.secret("peers")));
    for (const secret of drawn) {
      expect(secret).toHaveLength(32);
      expect(Buffer.compare(secret, drawn[0]!)).toBe(0);
    }
    expect(Buffer.compare(await store.secret("cookies"), drawn[0]!)).not.toBe(0);
    expect(Buffer.compare(await (await reopen()).secret("peers"), drawn[0]!)).toBe(0);
  });
}
