import type { Address, Hex } from "@proof-of-compute/proto";
import { describe, expect, onTestFinished, test } from "vitest";
import { mongoOrSkip } from "../../support/mongo.ts";
import { PATIENCE } from "../../support/test-network.ts";
import { type MixedCoordinator, MixedNetwork, type Version } from "./mixed-network.ts";

async function aNetwork(init: { count?: number; mongoUri?: string } = {}) {
  const network = await MixedNetwork.create(init);
  onTestFinished(() => network.stop());
  const [first, ...others] = network.coordinators as [MixedCoordinator, ...MixedCoordinator[]];
  return { network, first, others };
}

/** Small and large results, in turn. */
const SIZES = [
  [64, 2],
  [320, 2],
  [128, 3],
] as const;

async function dispatch(network: MixedNetwork, at: MixedCoordinator, count: number): Promise<Hex[]> {
  const ids: Hex[] = [];
  for (let i = 0; i < count; i++) ids.push(await network.dispatch(at, SIZES[i % SIZES.length]!));
  return ids;
}

/** Every task has one receipt, and every wallet has on the chain what its receipts say. */
async function expectPaidOnce(
  network: MixedNetwork,
  at: MixedCoordinator,
  tasks: readonly Hex[],
): Promise<Set<Address>> {
  const receipts = await network.receipts(at);
  expect(receipts.map(({ taskId }) => taskId).toSorted()).toEqual(tasks.toSorted());
  const units = new Map<Address, bigint>();
  for (const { provider, units: some } of receipts) units.set(provider, (units.get(provider) ?? 0n) + BigInt(some));
  for (const [wallet, sum] of units) expect(await network.unitsOf(wallet), wallet).toBe(sum);
  return new Set(units.keys());
}

describe.each([
  ["old", "new"],
  ["new", "old"],
] as [Version, Version][])("a daemon of the %s version at a coordinator of the %s one", (daemon, coordinator) => {
  test("does tasks, large ones too, drains, and is paid", async () => {
    const { network, first } = await aNetwork();
    await first.start(coordinator);
    await network.signIn(first);
    const { wallet, program } = network.startDaemon(daemon);
    const tasks = await dispatch(network, first, 9);
    const recorded = await network.inState(first, tasks, "recorded");
    expect(recorded.every(({ units }) => BigInt(units) > 0n)).toBe(true);
    expect(await expectPaidOnce(network, first, tasks)).toEqual(new Set([wallet]));
    expect(await program.end("SIGTERM"), program.lastLines).toBe(0);
  });
});

describe.each(["sqlite", "mongodb"] as const)(
  "a coordinator of the version before, killed and started as this one, in %s",
  (store) => {
    test("goes on with its tasks and daemons, and every result is paid once", async (context) => {
      const mongoUri = store === "mongodb" ? (await mongoOrSkip(context)).uri() : "";
      const { network, first } = await aNetwork({ mongoUri });
      await first.start("old");
      await network.signIn(first);
      network.startDaemon("old");
      network.startDaemon("new");
      const recorded = await dispatch(network, first, 6);
      await network.inState(first, recorded, "recorded");
      // Some of these run, some have a result on its way, some wait.
      const others = await dispatch(network, first, 30);
      await expect
        .poll(async () => (await network.receipts(first)).length, { ...PATIENCE, interval: 500 })
        .toBeGreaterThan(recorded.length);
      await first.end("SIGKILL");
      await first.start("new");
      const later = await dispatch(network, first, 6);
      const all = [...recorded, ...others, ...later];
      await network.inState(first, all, "recorded");
      await expectPaidOnce(network, first, all);
    });
  },
);

test("coordinators on one store are upgraded one after the other, one goes back, and tasks are done all the time", async (context) => {
  const mongoUri = (await mongoOrSkip(context)).uri();
  const { network, first, others } = await aNetwork({ count: 3, mongoUri });
  for (const coordinator of network.coordinators) await coordinator.start("old");
  await network.signIn(first);
  for (const version of ["old", "old", "new", "new"] as const) network.startDaemon(version);
  const tasks = await dispatch(network, first, 12);
  for (const coordinator of network.coordinators) {
    // Each takes requests until it ends; the rest of the network does meanwhile.
    tasks.push(...(await dispatch(network, coordinator, 6)));
    const ended = coordinator.end("SIGTERM");
    const another = network.coordinators.find((each) => each !== coordinator)!;
    tasks.push(...(await dispatch(network, another, 6)));
    expect(await ended, coordinator.lastLines).toBe(0);
    await coordinator.start("new");
    tasks.push(...(await dispatch(network, coordinator, 6)));
  }
  // The upgrade of one is taken back.
  expect(await first.end("SIGTERM"), first.lastLines).toBe(0);
  await first.start("old");
  for (const coordinator of network.coordinators) tasks.push(...(await dispatch(network, coordinator, 6)));
  for (const coordinator of [first, ...others]) await network.inState(coordinator, tasks, "recorded");
  const wallets = await expectPaidOnce(network, first, tasks);
  expect(wallets.size).toBe(4);
});
