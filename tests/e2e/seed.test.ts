import { randomUUID } from "node:crypto";
import type { TaskView } from "@proof-of-compute/coordinator/edges/rest/tasks/schemas";
import { type Address, type Hex, toXdcAddress } from "@proof-of-compute/proto";
import { matmulUnits } from "@proof-of-compute/proto/kinds/matmul";
import { Wallet } from "ethers";
import { afterAll, beforeAll, expect, it } from "vitest";
import { Requester } from "../../scripts/local/requester.ts";
import { PATIENCE, TestNetwork } from "../support/test-network.ts";

// The path that the first plan of this project names, by the names that it gave: flag, routes, contract and event.

let network: TestNetwork;

beforeAll(async () => {
  network = await TestNetwork.start();
});

afterAll(() => network?.stop());

it("a node of an xdc wallet is online, does a dispatched task, and its total is announced by the contract", async () => {
  const provider = Wallet.createRandom().address as Address;
  const signal = AbortSignal.timeout(2 * PATIENCE.timeout);
  const daemon = network.startDaemon(
    ...["--roxonn-wallet-address", toXdcAddress(provider), "--coordinator", network.grpcAddress],
  );
  const status = async () => {
    daemon.assertAlive();
    const answer = await fetch(`${network.origin}/api/node/status?wallet=${toXdcAddress(provider)}`, { signal });
    return (await answer.json()) as unknown;
  };
  await expect.poll(status, PATIENCE).toMatchObject({
    wallet: provider,
    nodes: [{ wallet: provider, status: "online", kinds: ["matmul"] }],
  });

  const requester = new Requester(network.origin);
  await requester.signIn(new Wallet(Wallet.createRandom().privateKey), signal);
  const key = randomUUID();
  const { id } = await requester.dispatch({ kind: "matmul", matmul: { n: 128, k: 3 } }, key, signal);
  expect((await requester.dispatch({ kind: "matmul", matmul: { n: 128, k: 3 } }, key, signal)).id).toBe(id);
  let last: TaskView | undefined;
  for await (const task of requester.follow(id as Hex, signal)) last = task;
  const units = matmulUnits(128, 3);
  expect(last).toMatchObject({ state: "recorded", units: String(units), batch: { id: 1 } });

  expect(await network.units(provider)).toBe(units);
  const events = await network.contract.queryFilter("ComputeRecorded");
  expect(events.map((event) => "args" in event && [...event.args])).toEqual([[provider, units]]);
  expect(events[0]?.transactionHash).toBe(last?.batch?.transaction);
});
