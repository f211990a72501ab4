import { generateKeyPairSync, randomBytes } from "node:crypto";
import { cp, mkdtemp, rm } from "node:fs/promises";
import { type ClientHttp2Session, connect } from "node:http2";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type ServiceError, status } from "@grpc/grpc-js";
import { systemClock } from "@proof-of-compute/coordinator/adapters/system-clock";
import type { Task } from "@proof-of-compute/coordinator/domain/task";
import { type Address, toHex } from "@proof-of-compute/proto";
import {
  type Assignment,
  FetchBlobRequest,
  type FetchBlobResponse,
  HelloTerms,
  type Result,
  type ResultAck,
  Verdict,
} from "@proof-of-compute/proto/node";
import { Wallet } from "ethers";
import { afterEach, describe, expect, it, onTestFinished, vi } from "vitest";
import { ScriptedNode, type ScriptedNodeInit } from "../support/scripted-node.ts";
import { type StartedCoordinator, startTestCoordinator } from "../support/start-coordinator.ts";
import { TEST_STORE } from "../support/store.ts";

const REQUESTER = Wallet.createRandom().address as Address;
const PROVIDER = Wallet.createRandom().address as Address;
const HEARTBEAT = 200;

let coordinator: StartedCoordinator;

async function start(settings: Record<string, string> = {}): Promise<void> {
  coordinator = await startTestCoordinator({ HEARTBEAT_INTERVAL: `${HEARTBEAT}ms`, LEASE_TIME: "4s", ...settings });
}

afterEach(() => coordinator.stop());

function node(init: Partial<ScriptedNodeInit> = {}): ScriptedNode {
  const made = new ScriptedNode({ address: coordinator.grpcAddress, wallet: PROVIDER, ...init });
  onTestFinished(() => made.drop());
  return made;
}

/** Keeps a scripted node online while a test waits for something else; who is silent gets no more work. */
function keepAlive(scripted: ScriptedNode, running: () => readonly Uint8Array[] = () => []): () => void {
  const timer = setInterval(() => scripted.heartbeat(running()), HEARTBEAT);
  const stop = () => clearInterval(timer);
  onTestFinished(stop);
  return stop;
}

/** Three accepted results: the node may be given eight assignments, as far as it has slots. */
async function earnCap(scripted: ScriptedNode): Promise<void> {
  const stop = keepAlive(scripted);
  for (let i = 0; i < 3; i++) {
    await submit();
    const assignment = await scripted.assignment();
    scripted.sendResults([scripted.result(assignment, scripted.solve(assignment))]);
    await scripted.ack();
  }
  stop();
}

/** Sends an output in chunks and then its result, which it returns with the output in it. */
function sendLarge(scripted: ScriptedNode, assignment: Assignment): Result {
  const result = scripted.result(assignment, scripted.solve(assignment));
  const { assignmentId, output } = result;
  for (let offset = 0; offset < output.length; offset += 65_536) {
    const data = output.subarray(offset, offset + 65_536);
    scripted.send({ $case: "outputChunk", value: { assignmentId, offset: BigInt(offset), data } });
  }
  scripted.sendResults([{ ...result, output: Buffer.alloc(0) }]);
  return result;
}

async function submit(n = 64, k = 2): Promise<Task> {
  const work = { kind: "matmul", spec: { n, k } } as const;
  return (await coordinator.scheduler.submit({ requester: REQUESTER, ...work, deadlineMs: 60_000 })).task;
}

async function stored(id: Task["id"]): Promise<Task> {
  return (await coordinator.store.task(id))!;
}

async function verifiedUnits(): Promise<bigint> {
  return (await coordinator.store.totals()).units.verified;
}

function verdict({ verdict, reason }: ResultAck): string {
  const name = Object.entries(Verdict).find(([, value]) => value === verdict)![0];
  return `${name.replace("VERDICT_", "")} ${reason}`.trim();
}

async function refusal(opening: Promise<unknown>): Promise<string> {
  const error = (await opening.then(
    () => expect.unreachable("it was let in"),
    (reason: unknown) => reason,
  )) as ServiceError;
  return `${status[error.code]} ${error.metadata.get("proof-of-compute-error")[0]}`;
}

describe("the handshake", () => {
  it("lets a node in that signed this stream's challenge", async () => {
    await start();
    const { welcome } = await node().open();
    expect(welcome).toMatchObject({ heartbeatIntervalMs: HEARTBEAT, leaseMs: 4_000, chainId: 0n });
  });

  const wallet = Buffer.alloc(20, 7);
  const terms = {
    version: "",
    wallet,
    kinds: [1 as const],
    slots: 1,
    hardware: undefined,
    offers: [],
    runningAssignmentIds: [],
  };
  const encode = (change: object) => HelloTerms.encode({ authorization: undefined, ...terms, ...change }).finish();
  it.each([
    ["the challenge of another stream", { nonce: randomBytes(32) }, "UNAUTHENTICATED BAD_SIGNATURE"],
    ["another node's key", { signWith: generateKeyPairSync("ed25519").privateKey }, "UNAUTHENTICATED BAD_SIGNATURE"],
    ["another coordinator's name", { audience: "other.example:50051" }, "FAILED_PRECONDITION AUDIENCE_REFUSED"],
    ["terms that are no message", { terms: Buffer.from("ffff", "hex") }, "INVALID_ARGUMENT PROTOCOL_VIOLATION"],
    ["the zero wallet", { terms: encode({ wallet: Buffer.alloc(20) }) }, "INVALID_ARGUMENT INVALID_ADDRESS"],
    ["no slots", { terms: encode({ slots: 0 }) }, "INVALID_ARGUMENT PROTOCOL_VIOLATION"],
    ["more slots than there are", { terms: encode({ slots: 1_025 }) }, "INVALID_ARGUMENT PROTOCOL_VIOLATION"],
    ["no kinds", { terms: encode({ kinds: [] }) }, "INVALID_ARGUMENT PROTOCOL_VIOLATION"],
  ])("refuses %s", async (_, tricks, expected) => {
    await start();
    expect(await refusal(node().open(tricks))).toBe(expected);
  });

  it("refuses frames before Hello, and an authorization of another wallet where one is wanted", async () => {
    await start({ REQUIRE_NODE_AUTHORIZATION: "true" });
    const early = node();
    await early.next("challenge");
    early.heartbeat();
    expect(await refusal(early.next("welcome"))).toBe("INVALID_ARGUMENT PROTOCOL_VIOLATION");
    expect(await refusal(node().open())).toBe("PERMISSION_DENIED AUTHORIZATION_REFUSED");
  });

  it("lets the newer of two sessions of one key live, and ends the older", async () => {
    await start();
    const older = await node().open();
    const newer = await node({ privateKey: older.privateKey }).open();
    expect(await refusal(older.next("assignments"))).toBe("ABORTED SESSION_REPLACED");
    await submit();
    expect((await newer.assignment()).taskId).toHaveLength(16);
  });
});

describe("a cheating node gets nothing and costs nobody anything", () => {
  it.each<[string, (output: Buffer) => Buffer, string]>([
    ["one wrong element", (right) => right.fill((right[7]! + 1) % 251, 7, 8), "REJECTED WRONG_PRODUCT"],
    ["all zeros", (right) => right.fill(0), "REJECTED WRONG_PRODUCT"],
    ["an element beyond the field", (right) => right.fill(251, 0, 1), "REJECTED OUT_OF_RANGE"],
    ["too little", (right) => right.subarray(1), "REJECTED WRONG_LENGTH"],
    ["too much", (right) => Buffer.concat([right, Buffer.alloc(1)]), "REJECTED WRONG_LENGTH"],
    ["nothing", () => Buffer.alloc(0), "REJECTED WRONG_LENGTH"],
  ])("for %s", async (_, change, expected) => {
    await start();
    const cheat = await node().open();
    keepAlive(cheat);
    const task = await submit();
    const assignment = await cheat.assignment();
    cheat.sendResults([cheat.result(assignment, change(cheat.solve(assignment)))]);
    expect(verdict(await cheat.ack())).toBe(expected);
    expect(await verifiedUnits()).toBe(0n);

    const honest = await node().open();
    const again = await honest.assignment();
    expect(toHex(again.taskId)).toBe(task.id);
    honest.sendResults([honest.result(again, honest.solve(again))]);
    expect(verdict(await honest.ack())).toBe("ACCEPTED");
    expect(await verifiedUnits()).toBe(1n);
    expect(Object.values((await stored(task.id)).assignments).map(({ state }) => state)).toEqual([
      "rejected",
      "accepted",
    ]);
    const standing = await coordinator.store.standing(
      toHex(cheat.nodeId),
      Object.values((await stored(task.id)).assignments)[0]!.wallet,
    );
    expect(standing ?? { cap: 1, valid: 0 }).toMatchObject({ cap: 1, valid: 0 });
  });

  it("for a digest or a spec that it did not compute", async () => {
    await start();
    const cheat = await node().open();
    await submit();
    const first = await cheat.assignment();
    const output = cheat.solve(first);
    cheat.sendResults([cheat.result(first, output, { outputDigest: randomBytes(32) })]);
    expect(verdict(await cheat.ack())).toBe("REJECTED DIGEST_MISMATCH");
    const other = await node().open();
    const second = await other.assignment();
    other.sendResults([other.result(second, other.solve(second), { specDigest: randomBytes(32) })]);
    expect(verdict(await other.ack())).toBe("REJECTED WRONG_SPEC");
    expect(await verifiedUnits()).toBe(0n);
  });

  it("for a result sent twice: the answer is the same and the unit is one", async () => {
    await start();
    const cheat = await node().open();
    await submit();
    const assignment = await cheat.assignment();
    const result = cheat.result(assignment, cheat.solve(assignment));
    cheat.sendResults([result]);
    expect(verdict(await cheat.ack())).toBe("ACCEPTED");
    cheat.sendResults([result]);
    expect(verdict(await cheat.ack())).toBe("ACCEPTED");
    cheat.sendResults([result, result]);
    expect([verdict(await cheat.ack()), verdict(await cheat.ack())]).toEqual(["ACCEPTED", "ACCEPTED"]);
    expect(await verifiedUnits()).toBe(1n);
    expect((await coordinator.store.receipts({ limit: 10 })).items).toHaveLength(1);
  });

  it("for the result of an earlier task, sent for a new one", async () => {
    await start();
    const cheat = await node().open();
    keepAlive(cheat);
    await submit();
    const first = await cheat.assignment();
    const output = cheat.solve(first);
    cheat.sendResults([cheat.result(first, output)]);
    expect(verdict(await cheat.ack())).toBe("ACCEPTED");
    await submit();
    const second = await cheat.assignment();
    cheat.sendResults([cheat.result(second, output)]);
    expect(verdict(await cheat.ack())).toBe("REJECTED WRONG_PRODUCT");
    expect(await verifiedUnits()).toBe(1n);
  });

  it("for another node's assignment, whose owner is still credited", async () => {
    await start();
    const honest = await node().open();
    await submit();
    const assignment = await honest.assignment();
    const output = honest.solve(assignment);
    const thief = await node().open();
    thief.sendResults([thief.result(assignment, output)]);
    expect(verdict(await thief.ack())).toBe("LATE UNKNOWN_ASSIGNMENT");
    honest.sendResults([honest.result(assignment, output)]);
    expect(verdict(await honest.ack())).toBe("ACCEPTED");
    const [receipt] = (await coordinator.store.receipts({ limit: 10 })).items;
    expect(receipt!.nodeId).toBe(toHex(honest.nodeId));
  });

  it("for another node's signature, and for its own over another wallet", async () => {
    await start();
    const honest = await node().open();
    const cheat = await node().open();
    const strangers = [{ signWith: honest.privateKey }, { wallet: Wallet.createRandom().address as Address }];
    for (const as of strangers) {
      const liar = await node({ privateKey: cheat.privateKey }).open();
      const ids = { assignmentId: randomBytes(16), taskId: randomBytes(16), spec: Buffer.alloc(1) };
      liar.sendResults([liar.result(ids, Buffer.alloc(1))], as);
      expect(await refusal(liar.next("acks"))).toBe("UNAUTHENTICATED BAD_SIGNATURE");
    }
    honest.heartbeat();
    await submit();
    const assignment = await honest.assignment();
    honest.sendResults([honest.result(assignment, honest.solve(assignment))]);
    expect(verdict(await honest.ack())).toBe("ACCEPTED");
  });

  it("for a heartbeat that claims another node's work: it is told to stop, the owner goes on", async () => {
    await start();
    const honest = await node().open();
    await submit();
    const assignment = await honest.assignment();
    const cheat = await node().open();
    cheat.heartbeat([assignment.assignmentId]);
    cheat.heartbeat([assignment.assignmentId]);
    expect((await cheat.next("cancel")).assignmentId).toEqual(assignment.assignmentId);
    cheat.send({ $case: "failure", value: { assignmentId: assignment.assignmentId, code: 3, detail: "sabotage" } });
    cheat.heartbeat();
    honest.sendResults([honest.result(assignment, honest.solve(assignment))]);
    expect(verdict(await honest.ack())).toBe("ACCEPTED");
  });

  it("for a stale session: after it was replaced its results are not taken", async () => {
    await start();
    const stale = await node().open();
    await submit();
    const assignment = await stale.assignment();
    const fresh = await node({ privateKey: stale.privateKey, running: [assignment.assignmentId] }).open();
    await stale.ended;
    stale.sendResults([stale.result(assignment, stale.solve(assignment))]);
    fresh.sendResults([fresh.result(assignment, fresh.solve(assignment))]);
    expect(verdict(await fresh.ack())).toBe("ACCEPTED");
    expect(await verifiedUnits()).toBe(1n);
  });

  it("for more output than its task has", async () => {
    await start();
    const cheat = await node().open();
    await submit();
    const { assignmentId } = await cheat.assignment();
    cheat.send({ $case: "outputChunk", value: { assignmentId, offset: 0n, data: Buffer.alloc(4_096) } });
    cheat.send({ $case: "outputChunk", value: { assignmentId, offset: 4_096n, data: Buffer.alloc(1) } });
    expect(await refusal(cheat.next("acks"))).toBe("INVALID_ARGUMENT PROTOCOL_VIOLATION");
  });

  it("for heartbeats of more assignments than there are", async () => {
    await start();
    const cheat = await node().open();
    const invented = Array.from({ length: 4_096 }, () => randomBytes(16));
    for (let i = 0; i < 2; i++) cheat.heartbeat(invented);
    for (let i = 0; i < 256; i++) await cheat.next("cancel");
    cheat.heartbeat([...invented, randomBytes(16)]);
    expect(await refusal(cheat.ack())).toBe("INVALID_ARGUMENT PROTOCOL_VIOLATION");
    await expect(cheat.next("cancel")).rejects.toThrow();
  });

  it("for a third large output before the results of the first two", async () => {
    await start();
    const cheat = await node({ slots: 4 }).open();
    keepAlive(cheat);
    await earnCap(cheat);
    for (let i = 0; i < 3; i++) {
      await submit(4096, 2);
      const { assignmentId } = await cheat.assignment();
      cheat.send({ $case: "outputChunk", value: { assignmentId, offset: 0n, data: Buffer.alloc(1) } });
    }
    expect(await refusal(cheat.ack())).toBe("INVALID_ARGUMENT PROTOCOL_VIOLATION");
  });
});

describe("assignments", () => {
  it("are never more than the cap, which doubles with each valid result up to twice the slots", async () => {
    await start();
    const scripted = await node({ slots: 4 }).open();
    keepAlive(scripted);
    for (let i = 0; i < 20; i++) await submit();
    const seen: number[] = [];
    for (let round = 0; round < 3; round++) {
      const batch = [await scripted.assignment()];
      while (batch.length < Math.min(4, 2 ** round)) batch.push(await scripted.assignment());
      seen.push(batch.length);
      expect(coordinator.scheduler.depth().running).toBe(batch.length);
      scripted.sendResults([scripted.result(batch[0]!, scripted.solve(batch[0]!))]);
      expect(verdict(await scripted.ack())).toBe("ACCEPTED");
      for (const rest of batch.slice(1)) {
        scripted.send({ $case: "failure", value: { assignmentId: rest.assignmentId, code: 1, detail: "" } });
      }
      await expect.poll(() => coordinator.scheduler.depth().running).toBeGreaterThan(0);
    }
    expect(seen).toEqual([1, 2, 4]);
  });

  it("of one turn that take milliseconds go to one node in one frame", async () => {
    await start();
    const first = await node({ slots: 4 }).open();
    keepAlive(first);
    await earnCap(first);
    await Promise.all(Array.from({ length: 4 }, () => submit()));
    const { assignments } = await first.next("assignments");
    expect(assignments).toHaveLength(4);

    // With no room left there, the second node earns its cap, and then both are free.
    const second = await node({ slots: 4, wallet: REQUESTER }).open();
    keepAlive(second);
    await earnCap(second);
    first.sendResults(assignments.map((each) => first.result(each, first.solve(each))));
    while (coordinator.scheduler.depth().running > 0) await first.ack();
    await Promise.all(Array.from({ length: 4 }, () => submit()));
    const tiny = await Promise.race([first.next("assignments"), second.next("assignments")]);
    expect(tiny.assignments).toHaveLength(4);
  });

  it("that are not answered within two heartbeats go to another node", async () => {
    await start();
    const mute = await node().open();
    keepAlive(mute, () => []);
    const task = await submit();
    await mute.next("assignments");
    expect((await mute.next("cancel")).reason).toBe(3);
    const other = await node().open();
    keepAlive(other);
    expect(toHex((await other.assignment()).taskId)).toBe(task.id);
    const states = Object.values((await stored(task.id)).assignments).map(({ state, reason }) => [state, reason]);
    expect(states[0]).toEqual(["lost", "NOT_ANSWERED"]);
  });

  it("outlive a lost stream for the lease time, and are taken up again", async () => {
    await start();
    const before = await node().open();
    await submit();
    const assignment = await before.assignment();
    before.drop();
    const after = await node({ privateKey: before.privateKey, running: [assignment.assignmentId] }).open();
    after.sendResults([after.result(assignment, after.solve(assignment))]);
    expect(verdict(await after.ack())).toBe("ACCEPTED");
  });

  it("of a node that stays away go to another, and its late result says so", async () => {
    await start({ LEASE_TIME: "1s" });
    const gone = await node().open();
    const task = await submit();
    const assignment = await gone.assignment();
    gone.drop();
    const other = await node().open();
    keepAlive(other);
    const again = await other.assignment();
    expect(toHex(again.taskId)).toBe(task.id);
    const back = await node({ privateKey: gone.privateKey, running: [assignment.assignmentId] }).open();
    back.sendResults([back.result(assignment, back.solve(assignment))]);
    expect(verdict(await back.ack())).toBe("LATE NODE_OFFLINE");
    other.sendResults([other.result(again, other.solve(again))]);
    expect(verdict(await other.ack())).toBe("ACCEPTED");
    expect(await verifiedUnits()).toBe(1n);
  });

  it("do not fail for good because nodes say that the task does, and those pause", async () => {
    await start({ MAX_ATTEMPTS: "1" });
    const task = await submit();
    const wallet = Wallet.createRandom().address as Address;
    for (const scripted of [await node({ wallet }).open(), await node({ wallet }).open()]) {
      keepAlive(scripted);
      const { assignmentId } = await scripted.assignment();
      scripted.send({ $case: "failure", value: { assignmentId, code: 3, detail: "it breaks" } });
    }
    await expect
      .poll(async () => Object.values((await stored(task.id)).assignments).map(({ state, reason }) => [state, reason]))
      .toEqual(Array(2).fill(["lost", "it breaks"]));
    const honest = await node().open();
    keepAlive(honest);
    const again = await honest.assignment();
    honest.sendResults([honest.result(again, honest.solve(again))]);
    expect(verdict(await honest.ack())).toBe("ACCEPTED");
    expect(await stored(task.id)).toMatchObject({ state: "verified", attempts: 0 });
  });

  it("are cancelled when the node says so, told again until it does, and may still finish in between", async () => {
    await start();
    const scripted = await node().open();
    const task = await submit();
    const { assignmentId } = await scripted.assignment();
    keepAlive(scripted, () => [assignmentId]);
    expect((await coordinator.scheduler.cancel(task.id)).state).toBe("cancelling");
    expect((await scripted.next("cancel")).reason).toBe(1);
    expect((await scripted.next("cancel")).reason).toBe(1);
    scripted.send({ $case: "failure", value: { assignmentId, code: 5, detail: "" } });
    await expect.poll(async () => (await stored(task.id)).state).toBe("cancelled");
  });

  it("end with their deadline", async () => {
    await start();
    const scripted = await node().open();
    const work = { kind: "matmul", spec: { n: 64, k: 2 } } as const;
    const { task } = await coordinator.scheduler.submit({ requester: REQUESTER, ...work, deadlineMs: 500 });
    const { assignmentId } = await scripted.assignment();
    keepAlive(scripted, () => [assignmentId]);
    expect((await scripted.next("cancel")).reason).toBe(2);
    await expect.poll(async () => (await stored(task.id)).error?.code).toBe("DEADLINE_PASSED");
  });

  it("take a large output in chunks", async () => {
    await start();
    const scripted = await node().open();
    keepAlive(scripted);
    const task = await submit(320, 2);
    sendLarge(scripted, await scripted.assignment());
    expect(verdict(await scripted.ack())).toBe("ACCEPTED");
    expect((await stored(task.id)).state).toBe("verified");
  });

  it("whose output takes its time to arrive hear of the coordinator meanwhile", async () => {
    await start();
    const slow = await node().open();
    await submit(320, 2);
    const { assignmentId } = await slow.assignment();
    slow.send({ $case: "outputChunk", value: { assignmentId, offset: 0n, data: Buffer.alloc(1) } });
    keepAlive(slow, () => [assignmentId]);
    for (let i = 0; i < 2; i++) expect((await slow.next("acks")).acks).toEqual([]);
  });

  it("whose output waits for memory that another holds live on, and are taken when there is room", async () => {
    await start({ LEASE_TIME: "1s", UPLOAD_MAX_BYTES: String(4096 ** 2) });
    const hog = await node().open();
    await submit(4096, 2);
    const { assignmentId: held } = await hog.assignment();
    let offset = 0n;
    const drip = () => {
      hog.heartbeat([held]);
      hog.send({ $case: "outputChunk", value: { assignmentId: held, offset: offset++, data: Buffer.alloc(1) } });
    };
    drip();
    const dripping = setInterval(drip, HEARTBEAT);
    onTestFinished(() => clearInterval(dripping));
    await hog.next("acks");

    const honest = await node({ wallet: REQUESTER }).open();
    await submit(320, 2);
    const assignment = await honest.assignment();
    sendLarge(honest, assignment);
    // So many that the stream is read no further.
    for (let i = 0; i < 64; i++) honest.heartbeat([assignment.assignmentId]);
    for (let i = 0; i < 10; i++) expect((await honest.next("acks")).acks).toEqual([]);
    clearInterval(dripping);
    hog.drop();
    expect(verdict(await honest.ack())).toBe("ACCEPTED");
  });

  it("have a verdict that takes its time, of which heartbeats tell", async () => {
    await start();
    const only = await node().open();
    const { store } = coordinator;
    const save = store.saveTask.bind(store);
    const away = Promise.withResolvers<void>();
    store.saveTask = (...change) => (change[1]?.receipt ? away.promise.then(() => save(...change)) : save(...change));
    await submit();
    const assignment = await only.assignment();
    only.sendResults([only.result(assignment, only.solve(assignment))]);
    keepAlive(only, () => [assignment.assignmentId]);
    for (let i = 0; i < 2; i++) expect((await only.next("acks")).acks).toEqual([]);
    away.resolve();
    expect(verdict(await only.ack())).toBe("ACCEPTED");
  });

  it("survive a restart of the coordinator", async () => {
    await start();
    const before = await node().open();
    const task = await submit();
    const assignment = await before.assignment();
    const { dataDir } = coordinator;
    const keep = await startOver(dataDir);
    const after = await node({ privateKey: before.privateKey, running: [assignment.assignmentId] }).open();
    after.sendResults([after.result(assignment, after.solve(assignment))]);
    expect(verdict(await after.ack())).toBe("ACCEPTED");
    expect((await stored(task.id)).state).toBe("verified");
    await keep();
  });

  it("are refused to a wallet's own nodes where the network says so", async () => {
    await start({ ALLOW_SELF_TASKS: "false" });
    const own = await node({ wallet: REQUESTER }).open();
    keepAlive(own);
    const task = await submit();
    expect(coordinator.scheduler.waitingReason(task)).toMatch(/only your own nodes/);
    const other = await node().open();
    expect(toHex((await other.assignment()).taskId)).toBe(task.id);
  });

  it("wait for a node that can end them before their deadline", async () => {
    await start();
    keepAlive(await node({ unitsPerSecond: 100n }).open());
    const task = await submit(1024, 5);
    expect(coordinator.scheduler.waitingReason(task)).toMatch(/fast enough/);
    const fast = await node({ unitsPerSecond: 1_000n }).open();
    expect(toHex((await fast.assignment()).taskId)).toBe(task.id);
    expect(await coordinator.store.node(toHex(fast.nodeId))).toMatchObject({
      offers: [{ kind: "matmul", slots: 1, unitsPerSecond: 1_000 }],
    });
  });
});

describe("a blob", () => {
  it("is fetched twice at once in a session, and those who do not read it lose it", async () => {
    const after = vi.spyOn(systemClock, "after");
    onTestFinished(() => after.mockRestore());
    await start();
    const scripted = await node().open();
    keepAlive(scripted);
    await submit(320, 2);
    const { output, outputDigest } = sendLarge(scripted, await scripted.assignment());
    expect(verdict(await scripted.ack())).toBe("ACCEPTED");

    const fetch = () => scripted.fetchBlob(outputDigest);
    const idle = connect(`http://${coordinator.grpcAddress}`, { settings: { initialWindowSize: 1_000 } });
    // The coordinator is stopped first.
    idle.on("error", () => {});
    onTestFinished(() => idle.destroy());
    for (let i = 0; i < 2; i++) fetchUnread(idle, scripted.welcome!.sessionId, outputDigest);
    await vi.waitFor(() => expect(timeouts()).toHaveLength(2));
    await expect(fetch().toArray()).rejects.toMatchObject({ code: status.RESOURCE_EXHAUSTED });
    for (const run of timeouts()) run();
    const pieces = await fetch().toArray();
    expect(Buffer.concat(pieces.map(({ data }: FetchBlobResponse) => data))).toEqual(output);

    function timeouts(): (() => void)[] {
      return after.mock.calls.flatMap(([ms, run]) => (ms === 300_000 ? [run] : []));
    }
  });

  /** gRPC's own client takes in much of what nobody reads. */
  function fetchUnread(session: ClientHttp2Session, sessionId: Uint8Array, sha256: Uint8Array): void {
    const path = "/proofofcompute.node.v1.NodeService/FetchBlob";
    const headers = { "content-type": "application/grpc", te: "trailers", "session-id": toHex(sessionId).slice(2) };
    const request = session.request({ ":method": "POST", ":path": path, ...headers });
    request.on("error", () => {});
    const message = FetchBlobRequest.encode({ sha256 }).finish();
    const head = Buffer.alloc(5);
    head.writeUInt32BE(message.length, 1);
    request.end(Buffer.concat([head, message]));
  }
});

/** Stops the coordinator and starts another on its data; on SQLite on a copy of before, as a crash leaves it. */
async function startOver(dataDir: string): Promise<() => Promise<void>> {
  if (TEST_STORE === "mongodb") {
    await coordinator.stop();
    await start({ DATA_DIR: dataDir });
    return async () => {};
  }
  const copy = await mkdtemp(join(tmpdir(), "proof-of-compute-"));
  await cp(dataDir, copy, { recursive: true });
  await coordinator.stop();
  await start({ DATA_DIR: copy });
  return async () => {
    await coordinator.stop();
    await rm(copy, { recursive: true, force: true });
  };
}
