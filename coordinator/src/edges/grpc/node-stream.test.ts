import { type ServiceError, status } from "@grpc/grpc-js";
import { toHex } from "@proof-of-compute/proto";
import { type Kind, KindRegistry } from "@proof-of-compute/proto/kinds";
import { type Assignment, FailureCode, Verdict } from "@proof-of-compute/proto/node";
import { TaskKind } from "@proof-of-compute/proto/task";
import { echo } from "@proof-of-compute/tests/support/echo/coordinator";
import { aCall } from "@proof-of-compute/tests/support/node-call";
import { ScriptedNode, type ScriptedNodeInit } from "@proof-of-compute/tests/support/scripted-node";
import { ALICE, BOB, HEARTBEAT_MS, LEASE_MS, TestCoordinator } from "@proof-of-compute/tests/support/test-coordinator";
import { beforeEach, describe, expect, it, vi } from "vitest";
import { MemoryBlobs } from "../../adapters/memory/blobs.ts";
import { MemoryStore } from "../../adapters/memory/store.ts";
import type { CoordinatorKind } from "../../kinds/index.ts";
import { ResultIntake } from "../../services/results/intake.ts";
import { UploadBudget } from "../../services/results/uploads.ts";
import { NodeStream } from "./node-stream.ts";

const AUDIENCE = "coordinator.example:50051";
const UPLOAD_BYTES = 2 ** 20;
const NOTHING = Buffer.alloc(0);

/** An echo whose output may take all the memory for uploads. */
const { protocol } = echo as CoordinatorKind;
const bounds: Kind["bounds"] = (spec) => ({ ...protocol.bounds(spec), maxOutputBytes: UPLOAD_BYTES });
const kinds = new KindRegistry([{ ...(echo as CoordinatorKind), protocol: { ...protocol, bounds } }]);

let coordinator: TestCoordinator;
let uploads: UploadBudget;
let isDraining: boolean;
let connect: (init?: Partial<ScriptedNodeInit>) => { node: ScriptedNode; stream: NodeStream };

beforeEach(async () => {
  const store = new MemoryStore();
  await store.start();
  coordinator = new TestCoordinator(store, "test", 1, () => {}, kinds);
  await coordinator.start();
  const { components, leases, sessions, clock } = coordinator;
  uploads = new UploadBudget({ clock }, { maxBytes: UPLOAD_BYTES });
  const blobs = new MemoryBlobs(components);
  const pool = { threads: 1, run: () => Promise.reject(new Error("an echo needs no thread")) };
  const intake = new ResultIntake({ ...components, leases, blobs, pool, uploads, accepted: () => {} });
  const audiences = new Set([AUDIENCE]);
  const terms = { audiences, kinds, contract: undefined, requireAuthorization: false, nowSeconds: () => 0 };
  const init = { ...terms, heartbeatMs: HEARTBEAT_MS, isDraining: () => isDraining };
  isDraining = false;
  connect = (change) => {
    const { coordinator: near, node: call } = aCall();
    const stream = new NodeStream(near, { ...components, sessions, leases, intake }, init);
    stream.start();
    const terms = { address: AUDIENCE, call, wallet: BOB, kinds: [TaskKind.TASK_KIND_ECHO] };
    return { node: new ScriptedNode({ ...terms, ...change }), stream };
  };
});

/** A node with an open session that may be given `slots` assignments. */
async function aNode(slots = 1): Promise<ScriptedNode> {
  const { node } = connect({ slots });
  await coordinator.store.saveStandings([{ nodeId: toHex(node.nodeId), wallet: BOB, cap: slots, valid: 0, faults: 0 }]);
  return node.open();
}

/** What the coordinator knows of a node. */
const known = (node: ScriptedNode) => coordinator.fleet.get(toHex(node.nodeId))!;

/** An assignment that the node accepted. */
async function anAssignment(node: ScriptedNode): Promise<Assignment> {
  await coordinator.submit(ALICE, 100);
  return node.assignment();
}

/** Sends an output in chunks, as far as it is given. */
function sendChunks(node: ScriptedNode, { assignmentId }: Assignment, ...chunks: Uint8Array[]): void {
  let sent = 0n;
  for (const data of chunks) {
    node.send({ $case: "outputChunk", value: { assignmentId, offset: sent, data } });
    sent += BigInt(data.length);
  }
}

/** How a stream ended for its node: status, stable code and words. */
async function ending(node: ScriptedNode): Promise<string[]> {
  const { code, metadata, details } = (await node.ended) as ServiceError;
  return [status[code]!, String(metadata.get("proof-of-compute-error")[0]), details];
}

describe("the handshake of a stream", () => {
  it("ends in Welcome, after which the node is given work", async () => {
    const { node, stream } = connect();
    expect(stream.isOpen).toBe(false);
    await node.open();
    expect(node.welcome).toMatchObject({
      coordinatorId: "test",
      heartbeatIntervalMs: HEARTBEAT_MS,
      leaseMs: LEASE_MS,
      inlineOutputBytes: 65_536,
      chainId: 0n,
    });
    expect([stream.isOpen, toHex(node.welcome!.sessionId)]).toEqual([true, stream.sessionId]);
    const assignment = await anAssignment(node);
    node.sendResults([node.result(assignment, node.solve(assignment))]);
    expect((await node.ack()).verdict).toBe(Verdict.VERDICT_ACCEPTED);
  });

  it("is given up after 10 s without a Hello", async () => {
    const { node, stream } = connect();
    await coordinator.clock.run(9_999);
    await node.next("challenge");
    await coordinator.clock.run(1);
    expect(await ending(node)).toMatchObject(["DEADLINE_EXCEEDED", "HELLO_TIMEOUT", expect.any(String)]);
    expect(stream.isOpen).toBe(false);
  });

  it("is refused while the coordinator drains", async () => {
    isDraining = true;
    const { node } = connect();
    await expect(node.open()).rejects.toThrow();
    expect(await ending(node)).toMatchObject(["UNAVAILABLE", "DRAINING", expect.any(String)]);
    expect([...coordinator.fleet.online()]).toEqual([]);
  });

  it("leaves no session behind when the stream breaks in its middle", async () => {
    const { promise: slow, resolve: answer } = Promise.withResolvers<void>();
    const { store } = coordinator;
    const read = vi.spyOn(store, "liveTasksOf").mockImplementation(async () => {
      await slow;
      return [];
    });
    const { node } = connect();
    const opening = node.open();
    opening.catch(() => {});
    await vi.waitFor(() => expect(read).toHaveBeenCalled());
    node.drop();
    answer();
    await vi.waitFor(() => expect([...coordinator.fleet.online()]).toEqual([]));
    expect(known(node).link).toBeNull();
  });

  it("comes first, and once", async () => {
    const { node: early } = connect();
    early.heartbeat();
    expect(await ending(early)).toEqual(["INVALID_ARGUMENT", "PROTOCOL_VIOLATION", "Hello comes first"]);
    const late = await aNode();
    const value = { nodeId: late.nodeId, audience: AUDIENCE, terms: NOTHING, signature: NOTHING };
    late.send({ $case: "hello", value });
    expect(await ending(late)).toEqual(["INVALID_ARGUMENT", "PROTOCOL_VIOLATION", "Hello comes once"]);
  });
});

describe("a heartbeat", () => {
  it("replaces what the node offers of each kind, and no heartbeat without offers does", async () => {
    const node = await aNode(4);
    expect(known(node).capacityOf("echo")).toBe(4);
    const kind = TaskKind.TASK_KIND_ECHO;
    node.heartbeat([], { load: 0.25, offers: [{ kind, slots: 1, unitsPerSecond: 7n }] });
    await vi.waitFor(() => expect(known(node)).toMatchObject({ load: 0.25, capacity: 1 }));
    node.heartbeat();
    await vi.waitFor(() => expect(known(node).load).toBe(0));
    expect(known(node).offer.offers).toEqual([{ kind: "echo", slots: 1, unitsPerSecond: 7 }]);
    await coordinator.clock.run(HEARTBEAT_MS);
    expect(await coordinator.store.node(toHex(node.nodeId))).toMatchObject({ offers: known(node).offer.offers });
  });

  it("breaks the protocol with more slots of a kind than the node has", async () => {
    const node = await aNode(4);
    node.heartbeat([], { offers: [{ kind: TaskKind.TASK_KIND_ECHO, slots: 5, unitsPerSecond: undefined }] });
    expect(await ending(node)).toMatchObject([
      "INVALID_ARGUMENT",
      "PROTOCOL_VIOLATION",
      expect.stringContaining("slots of a kind"),
    ]);
  });

  it.each([Number.NaN, 7, -1])("with a load of %d counts as one within 0 and 1", async (load) => {
    const node = await aNode();
    node.heartbeat([], { load: 0.5 });
    await vi.waitFor(() => expect(known(node).load).toBe(0.5));
    node.heartbeat([], { load });
    await vi.waitFor(() => expect([0, 1]).toContain(known(node).load));
  });
});

describe("an output in chunks", () => {
  it("is taken whole, and its result accepted", async () => {
    const node = await aNode();
    const assignment = await anAssignment(node);
    const output = node.solve(assignment);
    sendChunks(node, assignment, output.subarray(0, 60), output.subarray(60));
    node.sendResults([{ ...node.result(assignment, output), output: NOTHING }]);
    expect((await node.ack()).verdict).toBe(Verdict.VERDICT_ACCEPTED);
  });

  it("that waits for memory delays no other frame of its stream", async () => {
    const hog = uploads.open(UPLOAD_BYTES);
    const node = await aNode(2);
    const [waiting, other] = [await anAssignment(node), await anAssignment(node)];
    const output = node.solve(waiting);
    sendChunks(node, waiting, output.subarray(0, 60), output.subarray(60));
    node.sendResults([{ ...node.result(waiting, output), output: NOTHING }]);
    node.sendResults([node.result(other, node.solve(other))]);
    expect(await node.ack()).toMatchObject({ assignmentId: other.assignmentId, verdict: Verdict.VERDICT_ACCEPTED });
    node.heartbeat([waiting.assignmentId]);
    expect((await node.next("acks")).acks).toEqual([]);
    hog.release();
    expect(await node.ack()).toMatchObject({ assignmentId: waiting.assignmentId, verdict: Verdict.VERDICT_ACCEPTED });
  });

  it("stops the reading of its stream once nothing is left for chunks to wait in; the node stays online and is told so", async () => {
    const hog = uploads.open(UPLOAD_BYTES);
    const node = await aNode();
    const assignment = await anAssignment(node);
    // Two of them are an eighth of the memory for uploads.
    sendChunks(node, assignment, ...Array.from({ length: 3 }, () => Buffer.alloc(65_536)));
    for (let i = 0; i < 64; i++) node.heartbeat([assignment.assignmentId], { load: 0.5 });
    for (let passed = 0; passed < 2 * LEASE_MS; passed += HEARTBEAT_MS) {
      await coordinator.clock.run(HEARTBEAT_MS);
      expect((await node.next("acks")).acks).toEqual([]);
    }
    expect(known(node)).toMatchObject({ status: "online", load: 0 });
    hog.release();
    await vi.waitFor(() => expect(known(node).load).toBe(0.5));
    expect(known(node).assignments.get(toHex(assignment.assignmentId))!.upload!.bytes).toHaveLength(3 * 65_536);
  });

  it("gives its memory back when the stream breaks", async () => {
    const node = await aNode();
    sendChunks(node, await anAssignment(node), Buffer.alloc(1));
    await vi.waitFor(() => expect(known(node).uploading).toBe(UPLOAD_BYTES));
    node.drop();
    await uploads.open(UPLOAD_BYTES).stored;
    expect(known(node)).toMatchObject({ status: "suspect", link: null });
    expect(known(node).assignments.size).toBe(1);
  });
});

describe("a failure", () => {
  it.each([
    ["BUSY", FailureCode.FAILURE_CODE_BUSY, "declined", 0],
    ["UNSUPPORTED", FailureCode.FAILURE_CODE_UNSUPPORTED, "declined", 0],
    ["CANCELLED", FailureCode.FAILURE_CODE_CANCELLED, "cancelled", 0],
    // Tasks of this kind cannot fail.
    ["TASK", FailureCode.FAILURE_CODE_TASK, "lost", 1],
    ["INTERNAL", FailureCode.FAILURE_CODE_INTERNAL, "lost", 1],
    ["INTERNAL", FailureCode.FAILURE_CODE_UNSPECIFIED, "lost", 1],
  ] as const)("of code %s (%d) ends the assignment as %s", async (reason, code, state, faults) => {
    const node = await aNode();
    const { taskId, assignmentId } = await anAssignment(node);
    node.send({ $case: "failure", value: { assignmentId, code, detail: "" } });
    const id = toHex(assignmentId);
    await vi.waitFor(async () => {
      const { assignments } = (await coordinator.store.task(toHex(taskId)))!;
      expect(assignments[id]).toMatchObject({ state, reason });
    });
    expect(known(node).earned.faults).toBe(faults);
  });

  it("keeps a limited part of its detail", async () => {
    const node = await aNode();
    const { taskId, assignmentId } = await anAssignment(node);
    const code = FailureCode.FAILURE_CODE_BUSY;
    node.send({ $case: "failure", value: { assignmentId, code, detail: "x".repeat(5_000) } });
    await vi.waitFor(async () => {
      const { assignments } = (await coordinator.store.task(toHex(taskId)))!;
      expect(assignments[toHex(assignmentId)]!.reason).toBe("x".repeat(1_024));
    });
  });

  it("of an assignment that is not the node's, like its progress and its output, changes nothing", async () => {
    const [owner, thief] = [await aNode(), await aNode()];
    const assignment = await Promise.race([anAssignment(owner), thief.assignment()]);
    const [holder, other] = known(owner).assignments.size === 1 ? [owner, thief] : [thief, owner];
    const { assignmentId } = assignment;
    other.send({ $case: "progress", value: { assignmentId, fraction: 0.5 } });
    sendChunks(other, assignment, Buffer.alloc(1));
    other.send({ $case: "failure", value: { assignmentId, code: FailureCode.FAILURE_CODE_TASK, detail: "" } });
    holder.sendResults([holder.result(assignment, holder.solve(assignment))]);
    expect((await holder.ack()).verdict).toBe(Verdict.VERDICT_ACCEPTED);
    expect(known(other)).toMatchObject({ status: "online", uploading: 0 });
  });
});

describe("the end of a stream", () => {
  it("that the node ends comes after its last frames, and is clean", async () => {
    const node = await aNode();
    const assignment = await anAssignment(node);
    node.sendResults([node.result(assignment, node.solve(assignment))]);
    node.send({ $case: "draining", value: { reason: "SIGTERM" } });
    expect((await node.ack()).verdict).toBe(Verdict.VERDICT_ACCEPTED);
    node.close();
    expect(await node.ended).toBeUndefined();
    expect(await coordinator.store.node(toHex(node.nodeId))).toMatchObject({ status: "offline" });
  });

  it("that a fault of the coordinator brings says no more than that", async () => {
    const node = await aNode();
    vi.spyOn(coordinator.leases, "reconcile").mockImplementation(() => {
      throw new Error("secret");
    });
    node.heartbeat();
    const [grpc, code, words] = await ending(node);
    expect([grpc, code]).toEqual(["INTERNAL", "INTERNAL"]);
    expect(words).not.toContain("secret");
  });

  it("that the coordinator brings is clean, and leases hold", async () => {
    const { node, stream } = connect();
    await node.open();
    const { assignmentId } = await anAssignment(node);
    stream.close();
    stream.close();
    expect(await node.ended).toBeUndefined();
    expect(coordinator.leases.get(toHex(assignmentId))).toBeDefined();
    node.heartbeat();
    expect(known(node).status).toBe("suspect");
  });
});

it("a frame that the coordinator does not know is ignored", async () => {
  const node = await aNode();
  node.send(undefined as never);
  node.heartbeat([], { load: 0.5 });
  await vi.waitFor(() => expect(known(node).load).toBe(0.5));
});
