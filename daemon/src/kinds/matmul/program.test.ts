import { equal, toHex } from "@proof-of-compute/proto";
import { matmulSeed, referenceProduct } from "@proof-of-compute/proto/kinds/matmul";
import { assignmentOf, scriptedCoordinator, temporaryFolder } from "@proof-of-compute/tests/support/daemon/daemon";
import { DaemonProcess, writtenResults } from "@proof-of-compute/tests/support/daemon/daemon-process";
import type { ScriptedCoordinator, ScriptedSession } from "@proof-of-compute/tests/support/daemon/scripted-coordinator";
import { describe, expect, test } from "vitest";

const daemonOf = (coordinator: ScriptedCoordinator, dataDir: string) => DaemonProcess.of("real", coordinator, dataDir);

const product = (n: number, k: number) => assignmentOf({ $case: "matmul", value: { n, k } });

/** One task from assignment to result. */
async function doTask(session: ScriptedSession, n = 64, k = 2) {
  const work = product(n, k);
  session.assign(work);
  return { work, frame: await session.next("results") };
}

describe("the program", () => {
  test("computes products, and sends its rate in both fields", async () => {
    const coordinator = await scriptedCoordinator();
    daemonOf(coordinator, await temporaryFolder());
    const session = await coordinator.nextSession();
    const { work, frame } = await doTask(session, 256, 3);
    const [result] = frame.results;
    const seed = matmulSeed({ ...work, nodeId: session.hello!.nodeId, specDigest: result!.specDigest });
    expect(equal(result!.output, referenceProduct({ seed, n: 256, k: 3 }))).toBe(true);
    expect(session.resultsVerify(frame)).toBe(true);
    const { kinds, slots, unitsPerSecond, offers } = session.terms;
    expect(unitsPerSecond).toBeGreaterThan(0n);
    expect(offers).toEqual([{ kind: kinds[0], slots, unitsPerSecond }]);
  });

  test("sends finished results again after kill -9 and the next start, large outputs included", async () => {
    const coordinator = await scriptedCoordinator();
    const dir = await temporaryFolder();
    const daemon = daemonOf(coordinator, dir);
    const first = await coordinator.nextSession();
    const small = await doTask(first);
    const large = await doTask(first, 512, 2);
    const written = [small, large].map(({ work }) => toHex(work.assignmentId));
    await expect.poll(() => writtenResults(dir), { timeout: 10_000 }).toEqual(expect.arrayContaining(written));
    daemon.process.kill("SIGKILL");
    await daemon.exited;

    daemonOf(coordinator, dir);
    const second = await coordinator.nextSession();
    const held = second.terms.runningAssignmentIds;
    expect(held).toContainEqual(small.work.assignmentId);
    expect(held).toContainEqual(large.work.assignmentId);
    const again = new Map<string, Uint8Array>();
    while (again.size < held.length) {
      const frame = await second.next("results");
      expect(second.resultsVerify(frame)).toBe(true);
      for (const result of frame.results) again.set(toHex(result.assignmentId), result.outputDigest);
    }
    for (const { work, frame } of [small, large]) {
      expect(again.get(toHex(work.assignmentId))).toEqual(frame.results[0]!.outputDigest);
    }
  });

  test("stops a running product at a Cancel, however large", async () => {
    const coordinator = await scriptedCoordinator();
    daemonOf(coordinator, await temporaryFolder());
    const session = await coordinator.nextSession();
    const work = product(4096, 64);
    session.assign(work);
    await session.next("progress");
    while ((await session.next("progress")).fraction === 0);
    session.send({ $case: "cancel", value: { assignmentId: work.assignmentId, reason: 1 } });
    expect(await session.next("failure")).toMatchObject({ assignmentId: work.assignmentId, code: 5 });
  });
});
