import { type Address, toHex } from "@proof-of-compute/proto";
import { Wallet } from "ethers";
import { expect, it, onTestFinished, vi } from "vitest";
import { Link } from "../support/link.ts";
import { mongoOrSkip } from "../support/mongo.ts";
import { ScriptedNode } from "../support/scripted-node.ts";
import { startTestCoordinator } from "../support/start-coordinator.ts";

const REQUESTER = Wallet.createRandom().address as Address;
const PROVIDER = Wallet.createRandom().address as Address;
const LEASE_MS = 2_000;
const HEARTBEAT_MS = 500;
/** Longer than every lease and every sign of life lasts. */
const AWAY_MS = Number(process.env.TEST_STORE_AWAY_MS ?? 4 * LEASE_MS);
const PATIENCE = { timeout: 60_000, interval: 100 };

const request = { requester: REQUESTER, kind: "matmul", spec: { n: 64, k: 3 }, deadlineMs: 3_600_000 } as const;

it("keeps nodes and acknowledged results while MongoDB is unavailable, and continues once it is back", async (context) => {
  const mongo = await mongoOrSkip(context);
  const link = await Link.to(`127.0.0.1:${mongo.port}`);
  onTestFinished(() => link.stop());
  const coordinator = await startTestCoordinator({
    MONGODB_URI: mongo.uri(undefined, Number(link.address.split(":")[1])),
    HEARTBEAT_INTERVAL: `${HEARTBEAT_MS}ms`,
    LEASE_TIME: `${LEASE_MS}ms`,
  });
  onTestFinished(() => coordinator.stop());
  const node = await new ScriptedNode({ address: coordinator.grpcAddress, wallet: PROVIDER, slots: 4 }).open();
  onTestFinished(() => node.drop());
  let ended = false;
  void node.ended.then(() => {
    ended = true;
  });
  const { task } = await coordinator.scheduler.submit(request);
  const assignment = await node.assignment();
  expect(toHex(assignment.taskId)).toBe(task.id);
  let running = [assignment.assignmentId];
  const beat = setInterval(() => node.heartbeat(running), HEARTBEAT_MS);
  onTestFinished(() => clearInterval(beat));

  // Connections stay open and silent, which is the hardest failure to detect.
  link.pass({ up: "shut", down: "shut" });
  await expect(coordinator.scheduler.submit(request)).rejects.toMatchObject({ code: "UNAVAILABLE" });
  node.sendResults([node.result(assignment, node.solve(assignment))]);
  await new Promise((resolve) => setTimeout(resolve, AWAY_MS));
  expect(ended).toBe(false);

  link.pass({});
  running = [];
  const acked = await node.ack();
  expect(toHex(acked.assignmentId)).toBe(toHex(assignment.assignmentId));
  expect(acked.units).toBe(2n);
  expect(await coordinator.store.task(task.id)).toMatchObject({ state: "verified" });

  const { task: next } = await vi.waitFor(() => coordinator.scheduler.submit(request), PATIENCE);
  // The refused task may have been stored all the same, and is then given out like any other.
  for (let given = await node.assignment(); ; given = await node.assignment()) {
    node.sendResults([node.result(given, node.solve(given))]);
    expect((await node.ack()).units).toBe(2n);
    if (toHex(given.taskId) === next.id) break;
  }
  expect(ended).toBe(false);
  const { units } = await coordinator.store.totals();
  const { items } = await coordinator.store.tasks({ limit: 10, states: ["verified"] });
  expect(units.verified).toBe(2n * BigInt(items.length));
});
