import { createHash, randomBytes } from "node:crypto";
import { status } from "@grpc/grpc-js";
import { CancelReason, FailureCode, type OutputChunk, Verdict } from "@proof-of-compute/proto/node";
import {
  assignment,
  assignmentOf,
  scriptedCoordinator,
  startDaemon,
  temporaryFolder,
} from "@proof-of-compute/tests/support/daemon/daemon";
import { ScriptedExecutor, scripted } from "@proof-of-compute/tests/support/daemon/scripted-executor";
import { describe, expect, test } from "vitest";
import { newIdentity } from "../identity.ts";
import { TaskFailedError, UnsupportedError } from "../kinds/kind.ts";

const sha256 = (bytes: Uint8Array) => createHash("sha256").update(bytes).digest();

describe("results", () => {
  test("of one turn share a frame and a signature, and are forgotten at their verdicts", async () => {
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
    expect(daemon.snapshot().counts).toEqual({
      accepted: 3,
      rejected: 1,
      late: 1,
      nodeFailures: 0,
      taskFailures: 0,
      units: 3n,
    });
  });

  test("send a large output ahead in chunks", async () => {
    const coordinator = await scriptedCoordinator();
    const { executor } = await startDaemon([coordinator]);
    const session = await coordinator.nextSession();
    session.assign(assignment({ outputBytes: 2 ** 24, tiny: false }));
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

  test("are sent again after a lost stream, while running tasks continue", async () => {
    const coordinator = await scriptedCoordinator();
    const { executor } = await startDaemon([coordinator]);
    const first = await coordinator.nextSession();
    const [done, running] = [assignment(), assignment({ outputBytes: 16_384, tiny: false })];
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

  test("are sent again from their file if large, from offset 0", async () => {
    const coordinator = await scriptedCoordinator();
    const { daemon, executor } = await startDaemon([coordinator]);
    const first = await coordinator.nextSession();
    first.assign(assignment({ outputBytes: 2 ** 18, tiny: false }));
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

  test("of an earlier process are sent after a restart, but only for their wallet", async () => {
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
  test("beyond the slots are answered BUSY, invalid ones UNSUPPORTED, repeated ones not at all", async () => {
    const coordinator = await scriptedCoordinator();
    const { executor, daemon } = await startDaemon([coordinator], { slots: 1 });
    const session = await coordinator.nextSession();
    const [running, more] = [
      assignment({ outputBytes: 16_384, tiny: false }),
      assignment({ outputBytes: 16_384, tiny: false }),
    ];
    session.assign(running, running, more);
    expect(await session.next("failure")).toMatchObject({
      assignmentId: more.assignmentId,
      code: FailureCode.FAILURE_CODE_BUSY,
    });
    expect(executor.executions).toHaveLength(1);
    session.send({ $case: "cancel", value: { assignmentId: running.assignmentId, reason: 1 } });
    await session.next("failure");
    const tooLong = assignmentOf({ $case: "echo", value: { input: new Uint8Array(2_000) } });
    const ofNoKind = assignmentOf(undefined);
    for (const strange of [tooLong, ofNoKind, { ...assignment(), spec: Buffer.from("zz") }]) {
      session.assign(strange);
      expect(await session.next("failure")).toMatchObject({
        assignmentId: strange.assignmentId,
        code: FailureCode.FAILURE_CODE_UNSUPPORTED,
      });
    }
    expect(daemon.snapshot().tasks).toEqual([]);
  });

  test("are UNSUPPORTED when they exceed the memory, and BUSY when they exceed what is free of it", async () => {
    const coordinator = await scriptedCoordinator();
    await startDaemon([coordinator], { memoryBytes: 12 * 1024 * 1024 });
    const session = await coordinator.nextSession();
    session.assign(assignment({ memoryBytes: 28 * 2 ** 20 }));
    expect(await session.next("failure")).toMatchObject({ code: FailureCode.FAILURE_CODE_UNSUPPORTED });
    session.assign(
      assignment({ outputBytes: 2 ** 20, memoryBytes: 9 * 2 ** 20, tiny: false }),
      assignment({ outputBytes: 2 ** 20, memoryBytes: 9 * 2 ** 20, tiny: false }),
    );
    expect(await session.next("failure")).toMatchObject({ code: FailureCode.FAILURE_CODE_BUSY });
  });

  test("are declined while the outbox is full, and the reason is shown", async () => {
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

  test("are declined when the slots of their kind are taken", async () => {
    const coordinator = await scriptedCoordinator();
    const executor = new ScriptedExecutor();
    executor.slots = 1;
    const { daemon } = await startDaemon([coordinator], { slots: 4, executor });
    const session = await coordinator.nextSession();
    expect(session.terms).toMatchObject({ slots: 1, offers: [{ slots: 1 }] });
    session.assign(assignment(), assignment());
    expect(await session.next("failure")).toMatchObject({
      code: FailureCode.FAILURE_CODE_BUSY,
      detail: "no slot is free for echo",
    });
    expect(executor.executions).toHaveLength(1);
    expect(daemon.snapshot().slots).toBe(1);
  });

  test("whose executor emits chunks end with one output, up to its bound", async () => {
    const coordinator = await scriptedCoordinator();
    const { executor, daemon } = await startDaemon([coordinator]);
    const session = await coordinator.nextSession();
    session.assign(assignment({ outputBytes: 100 }), assignment({ outputBytes: 100 }));
    await expect.poll(() => executor.executions.length).toBe(2);
    const [right, tooMuch] = executor.executions;
    right!.io.emit(Buffer.from("in "));
    right!.io.emit(Buffer.from("three "));
    right!.finishRest(Buffer.from("pieces"));
    const { results } = await session.next("results");
    const output = Buffer.from("in three pieces");
    expect(results).toMatchObject([{ output, outputDigest: sha256(output) }]);
    expect(() => tooMuch!.io.emit(new Uint8Array(101))).toThrow(RangeError);
    tooMuch!.finishRest(new Uint8Array(101));
    expect(await session.next("failure")).toMatchObject({
      code: FailureCode.FAILURE_CODE_INTERNAL,
      detail: "the output outgrows the 100 bytes that its task allows",
    });
    expect(daemon.snapshot().counts).toMatchObject({ nodeFailures: 1, taskFailures: 0 });
  });

  test("that fail through their own fault are answered TASK, and counted apart", async () => {
    const coordinator = await scriptedCoordinator();
    const { daemon, executor, lines } = await startDaemon([coordinator]);
    const session = await coordinator.nextSession();
    session.assign(assignment());
    await expect.poll(() => executor.executions.length).toBe(1);
    executor.executions[0]!.crash(new TaskFailedError(`unreachable executed: ${"é".repeat(2_000)}`));
    const { code, detail } = await session.next("failure");
    expect(code).toBe(FailureCode.FAILURE_CODE_TASK);
    expect(detail).toMatch(/^unreachable executed: é+$/);
    expect(Buffer.byteLength(detail)).toBeLessThanOrEqual(1_024);
    expect(daemon.snapshot().counts).toMatchObject({ nodeFailures: 0, taskFailures: 1 });
    expect(lines.map(({ level, msg }) => [level, msg])).toContainEqual([40, "a task failed through its own fault"]);
  });

  test("of a kind that cannot fail are the node's fault, whatever its executor says", async () => {
    const coordinator = await scriptedCoordinator();
    const executor = Object.assign(new ScriptedExecutor(), { kind: { ...scripted, canFail: false } });
    const { daemon } = await startDaemon([coordinator], { executor });
    const session = await coordinator.nextSession();
    session.assign(assignment());
    await expect.poll(() => executor.executions.length).toBe(1);
    executor.executions[0]!.crash(new TaskFailedError("not me"));
    expect(await session.next("failure")).toMatchObject({ code: FailureCode.FAILURE_CODE_INTERNAL });
    expect(daemon.snapshot().counts).toMatchObject({ nodeFailures: 1, taskFailures: 0 });
  });

  test("are answered UNSUPPORTED when their executor cannot run them, INTERNAL when it fails to begin", async () => {
    const coordinator = await scriptedCoordinator();
    const executor = new ScriptedExecutor();
    await startDaemon([coordinator], { executor });
    const session = await coordinator.nextSession();
    executor.execute = () => {
      throw new Error("no thread");
    };
    session.assign(assignment());
    expect(await session.next("failure")).toMatchObject({
      code: FailureCode.FAILURE_CODE_INTERNAL,
      detail: "no thread",
    });
    executor.plan = () => {
      throw new UnsupportedError("the model is not loaded");
    };
    session.assign(assignment());
    expect(await session.next("failure")).toMatchObject({
      code: FailureCode.FAILURE_CODE_UNSUPPORTED,
      detail: "the model is not loaded",
    });
  });

  test("that crash are answered INTERNAL", async () => {
    const coordinator = await scriptedCoordinator();
    const { daemon, executor } = await startDaemon([coordinator]);
    const session = await coordinator.nextSession();
    session.assign(assignment());
    await expect.poll(() => executor.executions.length).toBe(1);
    executor.executions[0]!.crash(new Error("worker died"));
    expect(await session.next("failure")).toMatchObject({
      code: FailureCode.FAILURE_CODE_INTERNAL,
      detail: "worker died",
    });
    expect(daemon.snapshot().counts.nodeFailures).toBe(1);
  });

  test("report progress at most once a second, never falling", async () => {
    const coordinator = await scriptedCoordinator();
    const { executor } = await startDaemon([coordinator]);
    const session = await coordinator.nextSession();
    session.assign(assignment({ outputBytes: 2 ** 20, memoryBytes: 9 * 2 ** 20, tiny: false }));
    expect((await session.next("progress")).fraction).toBe(0);
    executor.executions[0]!.progress = 0.5;
    expect((await session.next("progress")).fraction).toBe(0.5);
    executor.executions[0]!.progress = 0.25;
    executor.executions[0]!.finish(randomBytes(1024 * 1024));
    await session.next("results");
    expect(session.waiting).not.toContain("progress");
  });

  test("that are tiny are accepted by a Progress when their result does not follow soon", async () => {
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
    const work = assignment({ outputBytes: 2 ** 20, memoryBytes: 9 * 2 ** 20, tiny: false });
    session.assign(work);
    await session.next("progress");
    session.send(cancel(work.assignmentId));
    expect(await session.next("failure")).toMatchObject({
      assignmentId: work.assignmentId,
      code: FailureCode.FAILURE_CODE_CANCELLED,
    });
    expect(executor.executions[0]!.stopped).toBe(true);
    expect(daemon.snapshot().tasks).toEqual([]);
  });

  test("is answered for an unknown assignment too, and drops the result of a finished one", async () => {
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
