import { randomBytes } from "node:crypto";
import { credentials, ServerCredentials, status } from "@grpc/grpc-js";
import { toHex } from "@proof-of-compute/proto";
import { FailureCode } from "@proof-of-compute/proto/node";
import { TaskKind } from "@proof-of-compute/proto/task";
import { CERTIFICATE, CERTIFICATE_KEY } from "@proof-of-compute/tests/support/daemon/certificate";
import { assignment, scriptedCoordinator, startDaemon, WALLET } from "@proof-of-compute/tests/support/daemon/daemon";
import { ScriptedCoordinator } from "@proof-of-compute/tests/support/daemon/scripted-coordinator";
import { ScriptedExecutor } from "@proof-of-compute/tests/support/daemon/scripted-executor";
import { describe, expect, onTestFinished, test, vi } from "vitest";
import { DaemonError } from "./errors.ts";
import { parseEndpoint } from "./session/endpoint.ts";

describe("handshake", () => {
  test("signs Hello for the challenge and the dialled name, and describes the node", async () => {
    const coordinator = await scriptedCoordinator();
    const rates = new Map([["echo", 250_000] as const]);
    const { identity } = await startDaemon([coordinator], { slots: 3, rates });
    const session = await coordinator.nextSession();
    expect(session.hello?.audience).toBe(coordinator.address);
    expect(session.helloVerifies(coordinator.address)).toBe(true);
    expect(session.helloVerifies("elsewhere:1")).toBe(false);
    expect(session.hello?.nodeId).toEqual(identity.nodeId);
    expect(session.terms).toMatchObject({
      version: "0.1.0",
      kinds: [TaskKind.TASK_KIND_ECHO],
      slots: 3,
      offers: [{ kind: TaskKind.TASK_KIND_ECHO, slots: 3, unitsPerSecond: 250_000n }],
      runningAssignmentIds: [],
      authorization: undefined,
    });
    expect(toHex(session.terms.wallet)).toBe(WALLET.toLowerCase());
    expect(session.terms.hardware?.platform).toBe(`${process.platform}-${process.arch}`);
  });

  test("sends the wallet's authorization", async () => {
    const coordinator = await scriptedCoordinator();
    const authorization = { issuedAt: 1n, expiresAt: 2n, signature: randomBytes(65) };
    await startDaemon([coordinator], { authorization });
    expect((await coordinator.nextSession()).terms.authorization).toEqual(authorization);
  });

  test.each([
    ["BAD_SIGNATURE", status.UNAUTHENTICATED, /different versions/],
    ["AUDIENCE_REFUSED", status.PERMISSION_DENIED, /GRPC_AUDIENCES.*--audience/],
    ["AUTHORIZATION_REFUSED", status.PERMISSION_DENIED, /--authorization/],
    ["PROTOCOL_VIOLATION", status.INVALID_ARGUMENT, /versions differ/],
  ])("ends the daemon at %s, with advice", async (error, code, advice) => {
    const coordinator = await scriptedCoordinator();
    coordinator.refusal = { code, error, details: "no" };
    const { daemon } = await startDaemon([coordinator]);
    const failure = await daemon.ended.catch((reason: unknown) => reason);
    expect(failure).toBeInstanceOf(DaemonError);
    expect((failure as DaemonError).exit).toBe("REFUSED");
    expect((failure as DaemonError).message).toMatch(advice);
  });

  test("tries the next coordinator of the list after a refusal", async () => {
    const [refusing, other] = [await scriptedCoordinator(), await scriptedCoordinator()];
    refusing.refusal = { code: status.PERMISSION_DENIED, error: "AUDIENCE_REFUSED", details: "no" };
    const { daemon } = await startDaemon([refusing, other]);
    await other.nextSession();
    await expect.poll(() => daemon.connection.phase).toBe("online");
  });

  test("dials a coordinator again that is not ready", async () => {
    const coordinator = await scriptedCoordinator();
    coordinator.refusal = { code: status.UNAVAILABLE, error: "DRAINING", details: "shutting down" };
    const { daemon } = await startDaemon([coordinator]);
    await expect.poll(() => daemon.connection).toMatchObject({ phase: "waiting", why: /is not ready \(DRAINING/ });
    coordinator.refusal = undefined;
    await coordinator.nextSession();
  });
});

describe("heartbeats", () => {
  test("come on the interval, with a growing sequence, free slots and held assignments", async () => {
    const coordinator = await scriptedCoordinator({ heartbeatIntervalMs: 100 });
    const { executor } = await startDaemon([coordinator]);
    const session = await coordinator.nextSession();
    const first = await session.next("heartbeat");
    expect(first).toMatchObject({ sequence: 1n, freeSlots: 2, runningAssignmentIds: [] });
    expect(first.load).toBeGreaterThanOrEqual(0);
    expect(first.load).toBeLessThanOrEqual(1);
    const work = assignment({ outputBytes: 16_384, tiny: false });
    session.assign(work);
    await session.next("progress");
    let beat = await session.next("heartbeat");
    while (beat.freeSlots === 2) beat = await session.next("heartbeat");
    expect(beat).toMatchObject({ freeSlots: 1, runningAssignmentIds: [work.assignmentId] });
    executor.executions[0]!.finish(new Uint8Array(16384));
    await session.next("results");
    while (beat.freeSlots === 1) beat = await session.next("heartbeat");
    expect(beat).toMatchObject({ freeSlots: 2, runningAssignmentIds: [work.assignmentId] });
    expect(beat.sequence).toBeGreaterThan(first.sequence);
  });

  test("carry the node's offers once after a change", async () => {
    const coordinator = await scriptedCoordinator({ heartbeatIntervalMs: 100 });
    const executor = new ScriptedExecutor();
    executor.slots = 3;
    await startDaemon([coordinator], { executor });
    const session = await coordinator.nextSession();
    const kind = TaskKind.TASK_KIND_ECHO;
    expect(session.terms.offers).toEqual([{ kind, slots: 3 }]);
    expect((await session.next("heartbeat")).offers).toEqual([]);
    executor.slots = 1;
    let beat = await session.next("heartbeat");
    while (beat.offers.length === 0) beat = await session.next("heartbeat");
    expect(beat).toMatchObject({ freeSlots: 1, offers: [{ kind, slots: 1 }] });
    expect((await session.next("heartbeat")).offers).toEqual([]);
    session.end({ code: status.UNAVAILABLE, details: "gone" });
    const second = await coordinator.nextSession();
    expect(second.terms).toMatchObject({ slots: 1, offers: [{ kind, slots: 1 }] });
    expect((await second.next("heartbeat")).offers).toEqual([]);
  });
});

describe("the connection", () => {
  test("is dialled until it opens, and the failure is logged once", async () => {
    const coordinator = await scriptedCoordinator();
    const { port } = coordinator;
    coordinator.stop();
    const { daemon, lines } = await startDaemon([coordinator]);
    await expect.poll(() => daemon.connection).toMatchObject({ phase: "waiting", why: /cannot reach.*ECONNREFUSED/ });
    const returned = await scriptedCoordinator({}, port);
    await returned.nextSession();
    const said = lines.filter(({ msg }) => msg.startsWith("cannot reach"));
    expect(said).toHaveLength(1);
  });

  test("is encrypted, and checked against the given authority", async () => {
    const coordinator = new ScriptedCoordinator();
    onTestFinished(() => coordinator.stop());
    const keys = [{ private_key: CERTIFICATE_KEY, cert_chain: CERTIFICATE }];
    const { port } = await coordinator.start(0, ServerCredentials.createSsl(null, keys));
    const address = `localhost:${port}`;
    const plain = await startDaemon([coordinator]);
    await expect.poll(() => plain.daemon.connection.phase).toBe("waiting");
    const unknown = await startDaemon([], {
      coordinators: [{ address, audience: address, credentials: credentials.createSsl() }],
    });
    await expect.poll(() => unknown.daemon.connection).toMatchObject({ why: /no TLS connection.*--tls-ca/ });
    await startDaemon([], { coordinators: [parseEndpoint(address, { insecure: false, tlsCa: CERTIFICATE })] });
    expect((await coordinator.nextSession()).helloVerifies(address)).toBe(true);
  });

  test("ends when the coordinator is silent while verdicts are due", async () => {
    const coordinator = await scriptedCoordinator({ heartbeatIntervalMs: 100 });
    const { executor } = await startDaemon([coordinator]);
    const session = await coordinator.nextSession();
    session.assign(assignment());
    await expect.poll(() => executor.executions.length).toBe(1);
    executor.executions[0]!.finish(randomBytes(4096));
    const { results } = await session.next("results");
    const now = performance.now.bind(performance);
    const clock = vi.spyOn(performance, "now").mockImplementation(() => now() + 60_000);
    onTestFinished(() => clock.mockRestore());
    const second = await coordinator.nextSession();
    expect((await second.next("results")).results).toEqual(results);
  });

  test("survives a late verdict after a long and quiet computation", async () => {
    const coordinator = await scriptedCoordinator({ heartbeatIntervalMs: 100 });
    const { daemon, executor } = await startDaemon([coordinator], { slots: 2 });
    const session = await coordinator.nextSession();
    const beat = async (freeSlots: number, held: number) => {
      let last = await session.next("heartbeat");
      while (last.freeSlots !== freeSlots || last.runningAssignmentIds.length !== held) {
        last = await session.next("heartbeat");
      }
    };
    session.assign(assignment(), assignment());
    await expect.poll(() => executor.executions.length).toBe(2);
    const now = performance.now.bind(performance);
    const clock = vi.spyOn(performance, "now").mockImplementation(() => now() + 60_000);
    onTestFinished(() => clock.mockRestore());
    executor.executions[0]!.crash(new Error("the beat that tells of this comes after the quiet time"));
    await beat(1, 1);
    executor.executions[1]!.finish(randomBytes(4096));
    const { results } = await session.next("results");
    await beat(2, 1);
    session.acknowledge(results);
    await expect.poll(() => daemon.snapshot().unacknowledged).toBe(0);
  });

  test("moves to the next coordinator after Reconnect, once its results are acknowledged", async () => {
    const [first, second] = [await scriptedCoordinator(), await scriptedCoordinator()];
    const { executor } = await startDaemon([first, second]);
    const session = await first.nextSession();
    session.assign(assignment());
    await expect.poll(() => executor.executions.length).toBe(1);
    executor.executions[0]!.finish(randomBytes(4096));
    const { results } = await session.next("results");
    session.send({ $case: "reconnect", value: { spreadMs: 5, reason: "draining" } });
    session.acknowledge(results);
    await session.ended;
    const moved = await second.nextSession();
    expect(moved.terms.runningAssignmentIds).toEqual([]);
  });

  test("ends the daemon after three sessions in a row that another daemon replaced", async () => {
    const coordinator = await scriptedCoordinator();
    const { daemon } = await startDaemon([coordinator]);
    for (let i = 0; i < 3; i++) {
      const session = await coordinator.nextSession();
      session.end({ code: status.ABORTED, error: "SESSION_REPLACED", details: "a newer session took over" });
    }
    await expect(daemon.ended).rejects.toMatchObject({
      exit: "REFUSED",
      message: /another daemon uses this node's key/,
    });
  });

  test("ends the daemon after three sessions in a row that the coordinator ended for a broken protocol", async () => {
    const coordinator = await scriptedCoordinator();
    const { daemon } = await startDaemon([coordinator]);
    for (let i = 0; i < 3; i++) {
      const session = await coordinator.nextSession();
      session.end({ code: status.INVALID_ARGUMENT, error: "PROTOCOL_VIOLATION", details: "a gap between chunks" });
    }
    await expect(daemon.ended).rejects.toMatchObject({ exit: "REFUSED", message: /a gap between chunks/ });
  });

  test("ignores a frame of a newer protocol", async () => {
    const coordinator = await scriptedCoordinator();
    const { executor } = await startDaemon([coordinator]);
    const session = await coordinator.nextSession();
    session.send(undefined as never);
    session.assign(assignment());
    await expect.poll(() => executor.executions.length).toBe(1);
  });
});

describe("draining", () => {
  test("is announced; the node declines new work, finishes its tasks, waits for the verdict and closes", async () => {
    const coordinator = await scriptedCoordinator();
    const { daemon, executor } = await startDaemon([coordinator]);
    const session = await coordinator.nextSession();
    session.assign(assignment({ outputBytes: 2 ** 20, memoryBytes: 9 * 2 ** 20, tiny: false }));
    await session.next("progress");
    const drained = daemon.drain("SIGTERM");
    expect(await session.next("draining")).toEqual({ reason: "SIGTERM" });
    session.assign(assignment());
    expect(await session.next("failure")).toMatchObject({ code: FailureCode.FAILURE_CODE_BUSY });
    executor.executions[0]!.finish(randomBytes(1024 * 1024));
    const { results } = await session.next("results");
    session.acknowledge(results);
    await session.ended;
    await drained;
    await daemon.ended;
    expect(daemon.snapshot().counts.accepted).toBe(1);
  });

  test("does not wait for verdicts when no coordinator can be reached", async () => {
    const coordinator = await scriptedCoordinator();
    const { daemon, executor } = await startDaemon([coordinator]);
    const session = await coordinator.nextSession();
    session.assign(assignment());
    await expect.poll(() => executor.executions.length).toBe(1);
    executor.executions[0]!.finish(randomBytes(4096));
    await session.next("results");
    coordinator.stop();
    await expect.poll(() => daemon.connection.phase).toBe("waiting");
    await daemon.drain("SIGTERM");
    await daemon.ended;
    expect(daemon.snapshot().unacknowledged).toBe(1);
  });

  test("stops unfinished tasks at its time-out, without blame", async () => {
    const coordinator = await scriptedCoordinator();
    const { daemon, executor } = await startDaemon([coordinator], { drainTimeoutMs: 10 });
    const session = await coordinator.nextSession();
    session.assign(assignment({ outputBytes: 2 ** 20, memoryBytes: 9 * 2 ** 20, tiny: false }));
    await session.next("progress");
    await daemon.drain("SIGTERM");
    expect(executor.executions[0]!.stopped).toBe(true);
    expect(await session.next("failure")).toMatchObject({ code: FailureCode.FAILURE_CODE_BUSY });
  });
});
