import { generateKeyPairSync, randomBytes, sign } from "node:crypto";
import {
  addressBytes,
  fromHex,
  merkleRoot,
  resultMessage,
  resultsMessage,
  sha256,
  toHex,
} from "@proof-of-compute/proto";
import { type Claim, type Kind, KindRegistry } from "@proof-of-compute/proto/kinds";
import { type EchoSpec, TaskSpec } from "@proof-of-compute/proto/task";
import { echo } from "@proof-of-compute/tests/support/echo/coordinator";
import { anOffer } from "@proof-of-compute/tests/support/fleet";
import { ALICE, LEASE_MS, settle, TestCoordinator } from "@proof-of-compute/tests/support/test-coordinator";
import { expect, test, vi } from "vitest";
import { MemoryBlobs } from "../../adapters/memory/blobs.ts";
import { MemoryStore } from "../../adapters/memory/store.ts";
import type { Owner } from "../../domain/owner.ts";
import { assign, type Task } from "../../domain/task.ts";
import type { Checker, CheckPool, CoordinatorKind } from "../../kinds/index.ts";
import { YOUNG_BLOB_MS } from "../../ports/blobs.ts";
import { newId } from "../../util/ids.ts";
import type { ActiveAssignment } from "../fleet/active-assignment.ts";
import { type ResultClaim, ResultIntake } from "./intake.ts";
import { INLINE_OUTPUT_BYTES } from "./limits.ts";
import { UploadBudget } from "./uploads.ts";

/** Echoes need no worker threads. */
const NO_POOL: CheckPool = { threads: 0, run: () => Promise.reject(new Error("there are no worker threads")) };
const UPLOAD_BYTES = 2 ** 24;
const INPUT = Buffer.from("what a node is to say again");
const { privateKey, publicKey } = generateKeyPairSync("ed25519");

interface Change {
  /** Judges instead of the kind's own checker. */
  readonly judge?: Checker["judge"];
  readonly maxOutputBytes?: number;
  readonly maxUnits?: bigint;
}

/** Echo, changed where a test says so. */
function anEcho({ judge, ...bounds }: Change): CoordinatorKind {
  const { protocol } = echo;
  return {
    ...(echo as CoordinatorKind),
    protocol: { ...protocol, bounds: (spec: EchoSpec) => ({ ...protocol.bounds(spec), ...bounds }) } as Kind,
    ...(judge && { createChecker: () => ({ judge }) }),
  };
}

/** An intake on the real services, and a node that runs one echo. */
async function anIntake(change: Change = {}) {
  const kinds = new KindRegistry([anEcho(change)]);
  const store = new MemoryStore();
  await store.start();
  const coordinator = new TestCoordinator(store, "test", 1, () => {}, kinds);
  await coordinator.start();
  const { clock, components, leases, fleet } = coordinator;
  const { metrics } = components;
  const blobs = new MemoryBlobs(components);
  const uploads = new UploadBudget({ clock }, { maxBytes: UPLOAD_BYTES });
  const intake = new ResultIntake({ ...components, leases, uploads, pool: NO_POOL, blobs, accepted: () => {} });
  const { node, link } = await coordinator.join(anOffer({ nodeId: toHex(rawKey()), kinds: ["echo"] }));
  /** One more echo that the node runs. */
  const another = async (): Promise<ActiveAssignment> => {
    const work = { kind: "echo", spec: { input: INPUT } } as const;
    const { task } = await coordinator.scheduler.submit({ requester: ALICE, ...work, deadlineMs: 3_600_000 });
    const assignment = await vi.waitFor(() => {
      expect(leases.ofTask(task.id)?.phase).toBe("sent");
      return leases.ofTask(task.id)!;
    });
    leases.advance(assignment, 0);
    return assignment;
  };
  const run = await another();
  const { task } = run;

  const claim = (output: Uint8Array = INPUT, of = run): ResultClaim => ({
    assignmentId: fromHex(of.id),
    taskId: fromHex(of.task.id),
    specDigest: sha256(of.task.spec),
    outputDigest: sha256(output),
    output,
  });
  const send = (claims: readonly ResultClaim[]): Promise<void> => {
    const wallet = addressBytes(node.offer.wallet);
    const root = merkleRoot(claims.map((each) => resultMessage({ ...each, wallet })));
    return intake.results(node, publicKey, claims, sign(null, resultsMessage(root), privateKey));
  };
  /** Lets time pass in which the node gives signs of life and says no more. */
  const pass = async (ms: number) => {
    for (let passed = 0; passed < ms; passed += 1_000) {
      fleet.heard(node);
      await clock.run(1_000, 500);
    }
  };
  const stored = async () => {
    const { assignments } = (await store.task(task.id)) as Task;
    return assignments[run.id]!;
  };
  return {
    clock,
    store,
    blobs,
    leases,
    fleet,
    uploads,
    another,
    pass,
    intake,
    link,
    run,
    claim,
    send,
    stored,
    metrics,
  };
}

function rawKey(): Buffer {
  return Buffer.from(publicKey.export({ format: "jwk" }).x!, "base64url");
}

test("a right result that is not stored before the end gets no verdict, and keeps its lease", async () => {
  const { clock, store, intake, link, run, claim, send, stored } = await anIntake();
  const took = vi.spyOn(store, "saveTask");
  await store.stop();
  await send([claim()]);
  await vi.waitFor(() => expect(took).toHaveBeenCalled());
  const drained = intake.drain(1_000);
  await clock.run(1_000);
  await drained;
  await clock.run(1_000, 250);
  await store.start();
  await clock.run(10_000, 500);
  await settle();
  expect(link.verdicts).toEqual([]);
  expect(await stored()).toMatchObject({ id: run.id, state: "live" });
});

test.each([
  ["once", 0],
  ["again when its receipt took so long that the blob may be old", YOUNG_BLOB_MS],
])("puts the blob of a large result %s", async (_, pausedMs) => {
  const judge = async () => ({ outcome: "accepted", units: 1n }) as const;
  const { clock, store, blobs, link, claim, send } = await anIntake({ judge, maxOutputBytes: 2 ** 20 });
  const put = vi.spyOn(blobs, "put");
  const { saveTask } = store;
  store.saveTask = (...args) => {
    // As when this process is stopped here and continued.
    clock.jump(pausedMs);
    return saveTask.apply(store, args);
  };
  const result = claim(randomBytes(INLINE_OUTPUT_BYTES + 1));
  await send([result]);
  await vi.waitFor(() => expect(link.verdicts).toMatchObject([{ outcome: "ACCEPTED" }]));
  expect(put).toHaveBeenCalledTimes(pausedMs > 0 ? 2 : 1);
  const [stored] = await blobs.find([toHex(result.outputDigest)]);
  expect(stored!.ageMs).toBeLessThan(1_000);
});

test("repeats a check that failed itself", async () => {
  let broken = 1;
  const judge = async (claim: Claim<unknown>) => {
    if (broken-- > 0) throw new Error("the worker died");
    return echo.createChecker(NO_POOL).judge(claim as Claim<EchoSpec>);
  };
  const { link, claim, send } = await anIntake({ judge });
  await send([claim()]);
  await vi.waitFor(() => expect(link.verdicts).toMatchObject([{ outcome: "ACCEPTED" }]));
});

test("gives a task whose check failed twice to another node, and does not blame the first", async () => {
  const { link, run, claim, send, stored } = await anIntake({
    judge: () => Promise.reject(new Error("the worker died")),
  });
  await send([claim()]);
  await vi.waitFor(() => expect(link.verdicts).toMatchObject([{ outcome: "LATE", reason: "CHECK_FAILED" }]));
  expect(await stored()).toMatchObject({ state: "lost", reason: "CHECK_FAILED" });
  expect(run.node.earned.faults).toBe(0);
});

test("repeats a node's own words to it, and keeps them out of metric labels", async () => {
  const { leases, link, run, claim, send, metrics } = await anIntake();
  await leases.end(run, "declined", "words of the node");
  await send([claim()]);
  await vi.waitFor(() => expect(link.verdicts).toMatchObject([{ outcome: "LATE", reason: "words of the node" }]));
  const { body } = await metrics.render();
  expect(body).toContain('results_total{verdict="LATE",reason="ENDED_BEFORE"} 1');
  expect(body).not.toContain("words of the node");
});

test("gives no verdict on a result of a kind that this coordinator does not know, and keeps the session", async () => {
  const { clock, store, link, run, claim, send } = await anIntake();
  const { task } = run;
  const id = newId();
  const { nodeId, wallet } = run;
  const spec = TaskSpec.encode({ ...TaskSpec.decode(task.spec), kind: undefined }).finish();
  const queued: Task = { ...task, id: newId(), kind: "wasm", spec, version: 1, state: "queued", assignments: {} };
  const owner: Owner = { coordinatorId: "newer", incarnation: "0x07" };
  const running = assign(queued, { id, nodeId, wallet, assignedAt: clock.now() }, owner);
  await store.insertTask(running);
  const output = Buffer.alloc(1);
  await send([{ ...claim(output), assignmentId: fromHex(id), taskId: fromHex(queued.id), specDigest: sha256(spec) }]);
  await settle();
  expect(link).toMatchObject({ verdicts: [], closed: false });
  expect(await store.task(queued.id)).toEqual(running);
});

test("rejects an output with more bytes than its task allows, before any check", async () => {
  const judge = vi.fn();
  const { link, claim, send } = await anIntake({ judge });
  await send([claim(Buffer.alloc(INPUT.length + 1))]);
  await vi.waitFor(() => expect(link.verdicts).toMatchObject([{ outcome: "REJECTED", reason: "WRONG_LENGTH" }]));
  expect(judge).not.toHaveBeenCalled();
});

test("credits no more units than the task can be worth, whatever a check says", async () => {
  const { link, claim, send, stored } = await anIntake({ maxUnits: BigInt(INPUT.length - 1) });
  await send([claim()]);
  await vi.waitFor(() => expect(link.verdicts).toMatchObject([{ outcome: "LATE", reason: "CHECK_FAILED" }]));
  expect(await stored()).toMatchObject({ state: "lost" });
});

test("sends a rejection once it is stored", async () => {
  const { clock, store, leases, link, run, claim, send, stored } = await anIntake();
  const took = vi.spyOn(store, "saveTask");
  await store.stop();
  await send([claim(new Uint8Array(randomBytes(100)))]);
  await vi.waitFor(() => expect(took).toHaveBeenCalled());
  await settle();
  expect(link.verdicts).toEqual([]);
  await store.start();
  await clock.run(2_000, 500);
  await settle();
  expect(link.verdicts).toMatchObject([{ outcome: "REJECTED", reason: "WRONG_LENGTH" }]);
  expect(await stored()).toMatchObject({ state: "rejected" });
  expect(leases.find(run.id, run.node)).toBeUndefined();
});

test("answers a wrong result of an attempt that is being ended with the stored verdict", async () => {
  const { clock, store, leases, link, run, claim, send, stored } = await anIntake();
  await store.stop();
  void leases.end(run, "lost", "NODE_OFFLINE", "lost");
  await send([claim(new Uint8Array(100))]);
  await settle();
  await store.start();
  await clock.run(2_000, 500);
  await vi.waitFor(() => expect(link.verdicts).toMatchObject([{ outcome: "LATE", reason: "NODE_OFFLINE" }]));
  expect(await stored()).toMatchObject({ state: "lost", reason: "NODE_OFFLINE" });
});

test("withdraws a lease whose output drips, however regularly", async () => {
  const { clock, leases, fleet, uploads, run, stored } = await anIntake();
  run.receive(uploads.open(UPLOAD_BYTES));
  for (let second = 0; second < 63; second++) {
    run.upload?.add(BigInt(second), Buffer.alloc(1));
    leases.advance(run, 0);
    fleet.heard(run.node);
    await clock.run(1_000, 500);
  }
  await settle();
  expect(await stored()).toMatchObject({ state: "lost", reason: "UPLOAD_TOO_SLOW" });
  await uploads.open(UPLOAD_BYTES).stored;
});

test("a result waits for chunks that wait for memory, and delays no other result", async () => {
  const { uploads, another, pass, intake, link, run, claim, send } = await anIntake();
  const hog = uploads.open(UPLOAD_BYTES);
  const other = await another();
  expect(intake.chunk(run, 0n, INPUT.subarray(0, 10))).toBeUndefined();
  expect(intake.chunk(run, 10n, INPUT.subarray(10))).toBeUndefined();
  await send([{ ...claim(), output: new Uint8Array() }, claim(INPUT, other)]);
  await vi.waitFor(() => expect(link.verdicts).toMatchObject([{ assignmentId: other.id, outcome: "ACCEPTED" }]));
  // However long that takes, nobody takes the lease back.
  await pass(3 * LEASE_MS);
  expect([run.phase, link.cancelled]).toEqual(["checking", []]);
  hog.release();
  await vi.waitFor(() => expect(link.verdicts[1]).toMatchObject({ assignmentId: run.id, outcome: "ACCEPTED" }));
});

test("an upload that gets its memory late has its full time from then on", async () => {
  const { leases, uploads, pass, intake, link, run } = await anIntake();
  const hog = uploads.open(UPLOAD_BYTES);
  intake.chunk(run, 0n, INPUT.subarray(0, 10));
  await pass(2 * LEASE_MS);
  hog.release();
  await pass(LEASE_MS);
  expect([leases.get(run.id), link.cancelled]).toEqual([run, []]);
  await pass(10_000);
  expect(link.cancelled).toEqual([{ id: run.id, reason: "LEASE_LOST" }]);
});

test("refuses gaps in an output, and more output ahead of results than a node may send", async () => {
  const { another, intake, run } = await anIntake({ maxOutputBytes: 20 * 2 ** 20 });
  expect(() => intake.chunk(run, 1n, Buffer.alloc(1))).toThrow("without gaps");
  intake.chunk(run, 0n, Buffer.alloc(1));
  const other = await another();
  expect(() => intake.chunk(other, 0n, Buffer.alloc(1))).toThrow("ahead of their results");
});

test("bounds the results of one node that are judged at once; the next frame waits", async () => {
  const { store, link, send } = await anIntake();
  const answered = Promise.withResolvers<void>();
  const read = vi.spyOn(store, "task").mockImplementation(() => answered.promise.then(() => null));
  const invented = () =>
    Array.from({ length: 200 }, (): ResultClaim => {
      const [assignmentId, taskId] = [randomBytes(16), randomBytes(16)];
      return {
        assignmentId,
        taskId,
        specDigest: randomBytes(32),
        outputDigest: randomBytes(32),
        output: randomBytes(0),
      };
    });
  let taken = 0;
  const frames = [0, 1, 2].map(() => send(invented()).then(() => taken++));
  await vi.waitFor(() => expect(read).toHaveBeenCalledTimes(256));
  await settle();
  expect(read).toHaveBeenCalledTimes(256);
  expect(taken).toBe(1);
  answered.resolve();
  await Promise.all(frames);
  await vi.waitFor(() => expect(link.verdicts).toHaveLength(600));
});
