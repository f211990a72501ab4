import { randomBytes } from "node:crypto";
import { status } from "@grpc/grpc-js";
import { CancelReason, Verdict } from "@proof-of-compute/proto/node";
import {
  assignment,
  scriptedCoordinator,
  startDaemon,
  temporaryFolder,
} from "@proof-of-compute/tests/support/daemon/daemon";
import type { ScriptedSession } from "@proof-of-compute/tests/support/daemon/scripted-coordinator";
import { describe, expect, test } from "vitest";
import { newIdentity } from "../identity.ts";

const ONE = { chainId: 51n, contract: Buffer.alloc(20, 1) };
const OTHER = { chainId: 51n, contract: Buffer.alloc(20, 2) };
const NONE = { chainId: 0n, contract: Buffer.alloc(0) };

const coordinatorOf = (network: typeof ONE) => scriptedCoordinator({ ...network, heartbeatIntervalMs: 100 });

/** What a coordinator says of an assignment that it does not know, however it came to hear of it. */
function disown(session: ScriptedSession, assignmentId: Buffer): void {
  session.send({ $case: "cancel", value: { assignmentId, reason: CancelReason.CANCEL_REASON_LEASE_LOST } });
  session.acknowledge([{ assignmentId }], Verdict.VERDICT_LATE);
}

/** A data directory that holds one result, which `coordinator` gave no verdict on. */
async function withResult(coordinator: Awaited<ReturnType<typeof coordinatorOf>>) {
  const given = { dataDir: await temporaryFolder(), identity: await newIdentity() };
  const { daemon, executor } = await startDaemon([coordinator], given);
  const session = await coordinator.nextSession();
  const { assignmentId, ...work } = assignment();
  session.assign({ assignmentId, ...work });
  await expect.poll(() => executor.executions.length).toBe(1);
  executor.executions[0]!.finish(randomBytes(4096));
  await session.next("results");
  await daemon.stop();
  return { given, assignmentId };
}

describe("a result of another network", () => {
  test("is kept for its own network, whatever a coordinator of this one says about it", async () => {
    const [one, other] = [await coordinatorOf(ONE), await coordinatorOf(OTHER)];
    const { given, assignmentId } = await withResult(one);

    const astray = await startDaemon([other], { ...given, drainTimeoutMs: 3_600_000 });
    const session = await other.nextSession();
    disown(session, assignmentId);
    await session.next("failure");
    expect((await session.next("heartbeat")).runningAssignmentIds).toEqual([]);
    expect(session.waiting).not.toContain("results");
    expect(astray.daemon.snapshot().unacknowledged).toBe(1);
    expect(astray.lines.map(({ msg }) => msg)).toContain("keeping results of another network until it is dialled");
    await astray.daemon.drain("nothing here is to be waited for");

    await startDaemon([one], given);
    const { results } = await (await one.nextSession()).next("results");
    expect(results.map((result) => result.assignmentId)).toEqual([assignmentId]);
  });

  test("is computed to its end in a session of this network", async () => {
    const [one, other] = [await coordinatorOf(ONE), await coordinatorOf(OTHER)];
    const { executor } = await startDaemon([one, other]);
    const before = await one.nextSession();
    const work = assignment({ outputBytes: 16_384, tiny: false });
    before.assign(work);
    await before.next("progress");
    before.end({ code: status.UNAVAILABLE, details: "gone" });

    const astray = await other.nextSession();
    disown(astray, work.assignmentId);
    await astray.next("failure");
    expect(executor.executions[0]!.stopped).toBe(false);
    expect((await astray.next("heartbeat")).runningAssignmentIds).toEqual([]);
    executor.executions[0]!.finish(randomBytes(16384));
    while ((await astray.next("heartbeat")).freeSlots < 2);
    expect(astray.waiting).not.toContain("results");
    expect(astray.waiting).not.toContain("progress");
    astray.end({ code: status.UNAVAILABLE, details: "gone" });

    const { results } = await (await one.nextSession()).next("results");
    expect(results.map((result) => result.assignmentId)).toEqual([work.assignmentId]);
  });
});

test("a result of a coordinator without a chain goes to it when it has one", async () => {
  const before = await coordinatorOf(NONE);
  const { given, assignmentId } = await withResult(before);
  const after = await coordinatorOf(ONE);
  await startDaemon([after], given);
  const { results } = await (await after.nextSession()).next("results");
  expect(results.map((result) => result.assignmentId)).toEqual([assignmentId]);
});
