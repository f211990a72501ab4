import { createHash, randomBytes } from "node:crypto";
import { credentials, ServerCredentials, status } from "@grpc/grpc-js";
import { toHex } from "@proof-of-compute/proto";
import { CancelReason, FailureCode, type OutputChunk, Verdict } from "@proof-of-compute/proto/node";
import { TaskKind } from "@proof-of-compute/proto/task";
import { CERTIFICATE, CERTIFICATE_KEY } from "@proof-of-compute/tests/support/daemon/certificate";
import {
  assignment,
  scriptedCoordinator,
  startDaemon,
  temporaryFolder,
  WALLET,
} from "@proof-of-compute/tests/support/daemon/daemon";
import { ScriptedCoordinator } from "@proof-of-compute/tests/support/daemon/scripted-coordinator";
import { describe, expect, onTestFinished, test, vi } from "vitest";
import { DaemonError } from "./errors.ts";
import { newIdentity } from "./identity.ts";
import { parseEndpoint } from "./session/endpoint.ts";

const sha256 = (bytes: Uint8Array) => createHash("sha256").update(bytes).digest();

describe("handshake", () => {
  test("Hello is signed for the challenge and the dialled name, and says what the node is", async () => {
    const coordinator = await scriptedCoordinator();
    const { identity } = await startDaemon([coordinator], { slots: 3, unitsPerSecond: 250_000 });
    const session = await coordinator.nextSession();
    expect(session.hello?.audience).toBe(coordinator.address);
    expect(session.helloVerifies(coordinator.address)).toBe(true);
    expect(session.helloVerifies("elsewhere:1")).toBe(false);
    expect(session.hello?.nodeId).toEqual(identity.nodeId);
    expect(session.terms).toMatchObject({
      version: "0.1.0",
      kinds: [TaskKind.TASK_KIND_MATMUL],
      slots: 3,
      runningAssignmentIds: [],
      authorization: undefined,
    });
    expect(toHex(session.terms.wallet)).toBe(WALLET.toLowerCase());
    expect(session.terms.hardware?.platform).toBe(`${process.platform}-${process.arch}`);
    expect(session.terms.unitsPerSecond).toBe(250_000n);
  });

  test("the wallet's authorization goes along", async () => {
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
  ])("%s ends the daemon with what to do", async (error, code, advice) => {
    const coordinator = await scriptedCoordinator();
    coordinator.refusal = { code, error, details: "no" };
    const { daemon } = await startDaemon([coordinator]);
    const failure = await daemon.ended.catch((reason: unknown) => reason);
    expect(failure).toBeInstanceOf(DaemonError);
    expect((failure as DaemonError).exit).toBe("REFUSED");
    expect((failure as DaemonError).message).toMatch(advice);
  });

  test("a refusal is not final while another coordinator of the list takes the node", async () => {
    const [refusing, other] = [await scriptedCoordinator(), await scriptedCoordinator()];
    refusing.refusal = { code: status.PERMISSION_DENIED, error: "AUDIENCE_REFUSED", details: "no" };
    const { daemon } = await startDaemon([refusing, other]);
    await other.nextSession();
    await expect.poll(() => daemon.connection.phase).toBe("online");
  });

  test("a coordinator that is not ready is tried again", async () => {
    const coordinator = await scriptedCoordinator();
    coordinator.refusal = { code: status.UNAVAILABLE, error: "DRAINING", details: "shutting down" };
    const { daemon } = await startDaemon([coordinator]);
    await expect.poll(() => daemon.connection).toMatchObject({ phase: "waiting", why: /is not ready \(DRAINING/ });
    coordinator.refusal = undefined;
    await coordinator.nextSession();
  });
});

describe("heartbeats", () => {
  test("come on the interval, with a growing sequence, free slots and what is held", async () => {
    const coordinator = await scriptedCoordinator({ heartbeatIntervalMs: 100 });
    const { executor } = await startDaemon([coordinator]);
    const session = await coordinator.nextSession();
    const first = await session.next("heartbeat");
    expect(first).toMatchObject({ sequence: 1n, freeSlots: 2, runningAssignmentIds: [] });
    expect(first.load).toBeGreaterThanOrEqual(0);
    expect(first.load).toBeLessThanOrEqual(1);
    const work = assignment(128, 64);
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
});

describe("results", () => {
  test("the results of one turn share a frame and a signature, and are forgotten at their verdicts", async () => {
    const coordinator = await scriptedCoordinator();
    const { daemon, executor } = await startDaemon([coordinator], { slots: 5 });
    const session = await coordinator.nextSession();
    const works = Array.from({ length: 5 }, () => assignment());
    session.assign(...works);
    await expect.poll(() => executor.executions.length).toBe(5);
    const outputs = works.map(() => randomBytes(4096));
    for (const [i, execution] of executor.executions.entries()) execution.finish(outputs[i]!);
    const frame = await session.next("results");
    expect(frame.results).toEqual(
      works.map(({ assignmentId, taskId, spec }, i) => ({
        assignmentId,
        taskId,
        specDigest: sha256(spec),
        outputDigest: sha256(outputs[i]!),
        output: outputs[i]!,
      })),
    );
    expect(session.resultsVerify(frame)).toBe(true);
    expect(daemon.snapshot().unacknowledged).toBe(5);
    session.acknowledge(frame.results.slice(0, 3));
    session.acknowledge(frame.results.slice(3, 4), Verdict.VERDICT_REJECTED);
    session.acknowledge(frame.results.slice(4), Verdict.VERDICT_LATE);
    await expect.poll(() => daemon.snapshot().unacknowledged).toBe(0);
    expect(daemon.snapshot().counts).toEqual({ accepted: 3, rejected: 1, late: 1, failed: 0, units: 3n });
  });

  test("a large output goes ahead in chunks", async () => {
    const coordinator = await scriptedCoordinator();
    const { executor } = await startDaemon([coordinator]);
    const session = await coordinator.nextSession();
    session.assign(assignment(4096, 2));
    expect(await session.next("progress")).toMatchObject({ fraction: 0 });
    const output = randomBytes(4096 * 4096);
    executor.executions[0]!.finish(output);
    const chunks: OutputChunk[] = [];
    for (let offset = 0; offset < output.length; offset += 65536) chunks.push(await session.next("outputChunk"));
    expect(chunks.map(({ offset }) => Number(offset))).toEqual(chunks.map((_, i) => i * 65536));
    expect(Buffer.concat(chunks.map(({ data }) => data)).equals(output)).toBe(true);
    const frame = await session.next("results");
    expect(frame.results).toHaveLength(1);
    expect(frame.results[0]).toMatchObject({ outputDigest: sha256(output), output: new Uint8Array() });
    expect(session.resultsVerify(frame)).toBe(true);
  });

  test("are sent again after a lost stream, and running tasks go on", async () => {
    const coordinator = await scriptedCoordinator();
    const { executor } = await startDaemon([coordinator]);
    const first = await coordinator.nextSession();
    const [done, running] = [assignment(), assignment(128, 64)];
    first.assign(done, running);
    await expect.poll(() => executor.executions.length).toBe(2);
    executor.executions[0]!.finish(randomBytes(4096));
    await first.next("results");
    first.end({ code: status.UNAVAILABLE, details: "gone" });
    const second = await coordinator.nextSession();
    expect(second.terms.runningAssignmentIds).toEqual([running.assignmentId, done.assignmentId]);
    const again = await second.next("results");
    expect(again.results[0]).toMatchObject({ assignmentId: done.assignmentId });
    expect(second.resultsVerify(again)).toBe(true);
    second.acknowledge(again.results);
    expect(await second.next("progress")).toMatchObject({ assignmentId: running.assignmentId });
    executor.executions[1]!.finish(randomBytes(16384));
    const last = await second.next("results");
    expect(last.results.map(({ assignmentId }) => assignmentId)).toEqual([running.assignmentId]);
  });

  test("a larger one is sent again from its file, from offset 0", async () => {
    const coordinator = await scriptedCoordinator();
    const { daemon, executor } = await startDaemon([coordinator]);
    const first = await coordinator.nextSession();
    first.assign(assignment(512, 2));
    await first.next("progress");
    const output = randomBytes(512 * 512);
    executor.executions[0]!.finish(output);
    await first.next("results");
    first.end({ code: status.UNAVAILABLE, details: "gone" });
    const second = await coordinator.nextSession();
    const chunks: OutputChunk[] = [];
    for (let i = 0; i < 4; i++) chunks.push(await second.next("outputChunk"));
    expect(Buffer.concat(chunks.map(({ data }) => data)).equals(output)).toBe(true);
    second.acknowledge((await second.next("results")).results);
    await expect.poll(() => daemon.snapshot().unacknowledged).toBe(0);
  });

  test("of an earlier process are sent after a restart, for the wallet that earned them only", async () => {
    const coordinator = await scriptedCoordinator();
    const dataDir = await temporaryFolder();
    const identity = await newIdentity();
    const before = await startDaemon([coordinator], { dataDir, identity });
    const first = await coordinator.nextSession();
    const work = assignment();
    first.assign(work);
    await expect.poll(() => before.executor.executions.length).toBe(1);
    const output = randomBytes(4096);
    before.executor.executions[0]!.finish(output);
    await first.next("results");
    await before.daemon.stop();

    const stranger = await startDaemon([coordinator], {
      dataDir,
      identity,
      wallet: "0x000000000000000000000000000000000000dEaD",
    });
    expect((await coordinator.nextSession()).terms.runningAssignmentIds).toEqual([]);
    await stranger.daemon.stop();

    await startDaemon([coordinator], { dataDir, identity });
    const again = await coordinator.nextSession();
    expect(again.terms.runningAssignmentIds).toEqual([work.assignmentId]);
    const frame = await again.next("results");
    expect(frame.results[0]).toMatchObject({ assignmentId: work.assignmentId, output });
    expect(again.resultsVerify(frame)).toBe(true);
  });
});

describe("assignments", () => {
  test("beyond the slots are answered BUSY, strange ones UNSUPPORTED, a repeated one not at all", async () => {
    const coordinator = await scriptedCoordinator();
    const { executor, daemon } = await startDaemon([coordinator], { slots: 1 });
    const session = await coordinator.nextSession();
    const [running, more] = [assignment(128, 64), assignment(128, 64)];
    session.assign(running, running, more);
    expect(await session.next("failure")).toMatchObject({
      assignmentId: more.assignmentId,
      code: FailureCode.FAILURE_CODE_BUSY,
    });
    expect(executor.executions).toHaveLength(1);
    session.send({ $case: "cancel", value: { assignmentId: running.assignmentId, reason: 1 } });
    await session.next("failure");
    for (const strange of [assignment(65, 2), { ...assignment(), spec: Buffer.from("zz") }]) {
      session.assign(strange);
      expect(await session.next("failure")).toMatchObject({
        assignmentId: strange.assignmentId,
        code: FailureCode.FAILURE_CODE_UNSUPPORTED,
      });
    }
    expect(daemon.snapshot().tasks).toEqual([]);
  });

  test("are bounded by memory: never possible is UNSUPPORTED, not now is BUSY", async () => {
    const coordinator = await scriptedCoordinator();
    await startDaemon([coordinator], { memoryBytes: 12 * 1024 * 1024 });
    const session = await coordinator.nextSession();
    session.assign(assignment(2048, 2));
    expect(await session.next("failure")).toMatchObject({ code: FailureCode.FAILURE_CODE_UNSUPPORTED });
    session.assign(assignment(1024, 5), assignment(1024, 5));
    expect(await session.next("failure")).toMatchObject({ code: FailureCode.FAILURE_CODE_BUSY });
  });

  test("are bounded by the outbox, and the daemon says so", async () => {
    const coordinator = await scriptedCoordinator();
    const { daemon, executor, lines } = await startDaemon([coordinator], { outboxMaxBytes: 6_000 });
    const session = await coordinator.nextSession();
    session.assign(assignment());
    await expect.poll(() => executor.executions.length).toBe(1);
    executor.executions[0]!.finish(randomBytes(4096));
    const { results } = await session.next("results");
    session.assign(assignment());
    expect(await session.next("failure")).toMatchObject({ code: FailureCode.FAILURE_CODE_BUSY });
    expect(daemon.snapshot().refusal).toMatch(/outbox is full/);
    expect(lines.some(({ msg, detail }) => msg === "declined an assignment" && /full/.test(String(detail)))).toBe(true);
    session.acknowledge(results);
    await expect.poll(() => daemon.snapshot().unacknowledged).toBe(0);
  });

  test("that crash are answered INTERNAL", async () => {
    const coordinator = await scriptedCoordinator();
    const { daemon, executor } = await startDaemon([coordinator]);
    const session = await coordinator.nextSession();
    session.assign(assignment());
    await expect.poll(() => executor.executions.length).toBe(1);
    executor.executions[0]!.crash("worker died");
    expect(await session.next("failure")).toMatchObject({
      code: FailureCode.FAILURE_CODE_INTERNAL,
      detail: "worker died",
    });
    expect(daemon.snapshot().counts.failed).toBe(1);
  });

  test("report progress at most once a second, never falling", async () => {
    const coordinator = await scriptedCoordinator();
    const { executor } = await startDaemon([coordinator]);
    const session = await coordinator.nextSession();
    session.assign(assignment(1024, 5));
    expect((await session.next("progress")).fraction).toBe(0);
    executor.executions[0]!.progress = 0.5;
    expect((await session.next("progress")).fraction).toBe(0.5);
    executor.executions[0]!.progress = 0.25;
    executor.executions[0]!.finish(randomBytes(1024 * 1024));
    await session.next("results");
    expect(session.waiting).not.toContain("progress");
  });

  test("a tiny one is accepted by a Progress when its result does not follow soon", async () => {
    const coordinator = await scriptedCoordinator();
    await startDaemon([coordinator]);
    const session = await coordinator.nextSession();
    const work = assignment();
    session.assign(work);
    expect(await session.next("progress")).toMatchObject({ assignmentId: work.assignmentId });
  });
});

describe("Cancel", () => {
  const cancel = (assignmentId: Buffer) =>
    ({ $case: "cancel", value: { assignmentId, reason: CancelReason.CANCEL_REASON_REQUESTED } }) as const;

  test("stops a running assignment and answers", async () => {
    const coordinator = await scriptedCoordinator();
    const { daemon, executor } = await startDaemon([coordinator]);
    const session = await coordinator.nextSession();
    const work = assignment(1024, 5);
    session.assign(work);
    await session.next("progress");
    session.send(cancel(work.assignmentId));
    expect(await session.next("failure")).toMatchObject({
      assignmentId: work.assignmentId,
      code: FailureCode.FAILURE_CODE_CANCELLED,
    });
    expect(executor.executions[0]!.cancelled).toBe(true);
    expect(daemon.snapshot().tasks).toEqual([]);
  });

  test("of an unknown assignment is answered the same, of a finished one drops its result", async () => {
    const coordinator = await scriptedCoordinator();
    const { daemon, executor } = await startDaemon([coordinator]);
    const session = await coordinator.nextSession();
    const unknown = randomBytes(16);
    session.send(cancel(unknown));
    expect(await session.next("failure")).toMatchObject({
      assignmentId: unknown,
      code: FailureCode.FAILURE_CODE_CANCELLED,
    });
    const work = assignment();
    session.assign(work);
    await expect.poll(() => executor.executions.length).toBe(1);
    executor.executions[0]!.finish(randomBytes(4096));
    await session.next("results");
    session.send(cancel(work.assignmentId));
    expect(await session.next("failure")).toMatchObject({ code: FailureCode.FAILURE_CODE_CANCELLED });
    expect(daemon.snapshot().unacknowledged).toBe(0);
  });
});

describe("the connection", () => {
  test("an unreachable coordinator is told once, and dialled until it is there", async () => {
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

  test("is encrypted and checked where an authority is given", async () => {
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

  test("is given up when the coordinator is silent while verdicts are due", async () => {
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

  test("is kept while a verdict takes its time after a long and quiet computation", async () => {
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
    executor.executions[0]!.crash("the beat that tells of this comes after the quiet time");
    await beat(1, 1);
    executor.executions[1]!.finish(randomBytes(4096));
    const { results } = await session.next("results");
    await beat(2, 1);
    session.acknowledge(results);
    await expect.poll(() => daemon.snapshot().unacknowledged).toBe(0);
  });

  test("Reconnect moves the node on to the next coordinator once its results are acknowledged", async () => {
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

  test("a key that runs elsewhere ends the daemon after three sessions in a row", async () => {
    const coordinator = await scriptedCoordinator();
    const { daemon } = await startDaemon([coordinator]);
    for (let i = 0; i < 3; i++) {
      const session = await coordinator.nextSession();
      session.end({ code: status.ABORTED, error: "SESSION_REPLACED", details: "a newer session took over" });
    }
    await expect(daemon.ended).rejects.toMatchObject({ exit: "REFUSED", message: /the same key runs elsewhere/ });
  });

  test("a coordinator that says three times in a row that a session was broken ends the daemon", async () => {
    const coordinator = await scriptedCoordinator();
    const { daemon } = await startDaemon([coordinator]);
    for (let i = 0; i < 3; i++) {
      const session = await coordinator.nextSession();
      session.end({ code: status.INVALID_ARGUMENT, error: "PROTOCOL_VIOLATION", details: "a gap between chunks" });
    }
    await expect(daemon.ended).rejects.toMatchObject({ exit: "REFUSED", message: /a gap between chunks/ });
  });

  test("a frame of a newer protocol is ignored", async () => {
    const coordinator = await scriptedCoordinator();
    const { executor } = await startDaemon([coordinator]);
    const session = await coordinator.nextSession();
    session.send(undefined as never);
    session.assign(assignment());
    await expect.poll(() => executor.executions.length).toBe(1);
  });
});

describe("draining", () => {
  test("says so, declines new work, finishes what runs, waits for the verdict and closes", async () => {
    const coordinator = await scriptedCoordinator();
    const { daemon, executor } = await startDaemon([coordinator]);
    const session = await coordinator.nextSession();
    session.assign(assignment(1024, 5));
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

  test("waits for nobody when no coordinator can be reached", async () => {
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

  test("stops what is not done in time, without blame", async () => {
    const coordinator = await scriptedCoordinator();
    const { daemon, executor } = await startDaemon([coordinator], { drainTimeoutMs: 10 });
    const session = await coordinator.nextSession();
    session.assign(assignment(1024, 5));
    await session.next("progress");
    await daemon.drain("SIGTERM");
    expect(executor.executions[0]!.cancelled).toBe(true);
    expect(await session.next("failure")).toMatchObject({ code: FailureCode.FAILURE_CODE_BUSY });
  });
});
