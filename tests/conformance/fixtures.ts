import { createHash } from "node:crypto";
import type { Batch } from "@proof-of-compute/coordinator/domain/batch";
import type { Node } from "@proof-of-compute/coordinator/domain/node";
import type { CoordinatorRecord, Owner } from "@proof-of-compute/coordinator/domain/owner";
import type { Receipt } from "@proof-of-compute/coordinator/domain/receipt";
import { accept, assign, type Task } from "@proof-of-compute/coordinator/domain/task";
import type { Address, Hex } from "@proof-of-compute/proto";

/** The n-th of a fixed sequence of byte strings in no particular order. */
function bytesOf(n: number, length: number): Uint8Array {
  return createHash("shake256", { outputLength: length }).update(`${n}`).digest();
}

/** The n-th id, digest or key of `length` bytes. */
export function hexOf(n: number, length = 16): Hex {
  return `0x${Buffer.from(bytesOf(n, length)).toString("hex")}`;
}

export const ALICE: Address = "0x70997970C51812dc3A010C7d01b50e0d17dc79C8";
export const BOB: Address = "0x3C44CdDdB6a900fa2b585dd299e03d12FA4293BC";
export const CAROL: Address = "0x90F79bf6EB2c4f870365E785982E1f101E93b906";

/** Three runs of two coordinators: AGAIN is HERE after a restart. */
export const HERE: Owner = { coordinatorId: "here", incarnation: hexOf(1) };
export const AGAIN: Owner = { coordinatorId: "here", incarnation: hexOf(2) };
export const THERE: Owner = { coordinatorId: "there", incarnation: hexOf(3) };

/** A coordinator's record. */
export function aCoordinator(owner: Owner, change: Partial<CoordinatorRecord> = {}): CoordinatorRecord {
  return { ...owner, beat: 1, address: "http://127.0.0.1:3000", version: "0.1.0", startedAt: 7, ...change };
}

/** A queued task, the n-th. */
export function aTask(n: number, change: Partial<Task> = {}): Task {
  return {
    id: hexOf(n),
    version: 1,
    requester: ALICE,
    kind: "matmul",
    spec: new Uint8Array(bytesOf(n, 40)),
    state: "queued",
    createdAt: 1_000 + n,
    deadline: 100_000 + n,
    notBefore: 1_000 + n,
    attempts: 0,
    assignments: {},
    ...change,
  };
}

/** A receipt for an assignment of a task. */
export function aReceipt(task: Task, assignmentId: Hex, change: Partial<Receipt> = {}): Receipt {
  return {
    receiptId: assignmentId,
    taskId: task.id,
    nodeId: hexOf(1, 32),
    provider: BOB,
    requester: task.requester,
    kind: "matmul",
    assurance: "proven",
    specDigest: hexOf(2, 32),
    spec: `0x${Buffer.from(task.spec).toString("hex")}`,
    resultDigest: hexOf(3, 32),
    units: 5n,
    acceptedAt: task.createdAt + 50,
    proof: { signature: hexOf(4, 64), index: 1, size: 3, path: [hexOf(5, 32), hexOf(6, 32)] },
    ...change,
  };
}

/** The next version of a task, assigned to a node. */
export function assigned(task: Task, assignmentId: Hex, node = 1, owner = HERE): Task {
  const attempt = { id: assignmentId, nodeId: hexOf(node, 32), wallet: BOB, assignedAt: task.createdAt + 10 };
  return assign(task, attempt, owner);
}

/** The n-th task with its receipt, and its versions before: queued, running, verified. */
export function aVerifiedTask(n: number, change: Partial<Receipt> = {}) {
  const queued = aTask(n);
  const running = assigned(queued, hexOf(1_000_000 + n));
  const receipt = aReceipt(running, hexOf(1_000_000 + n), change);
  return { queued, running, receipt, verified: accept(running, receipt) };
}

/** A batch of receipts; its root is made up, because no store checks it. */
export function aBatch(id: number, receipts: readonly Receipt[], change: Partial<Batch> = {}): Batch {
  const units = receipts.reduce((sum, receipt) => sum + receipt.units, 0n);
  return {
    id,
    root: hexOf(id, 32),
    credits: [{ provider: BOB, units }],
    receiptIds: receipts.map(({ receiptId }) => receiptId),
    units,
    closedAt: 5_000 + id,
    state: "closed",
    ...change,
  };
}

/** The n-th node, online. */
export function aNode(n: number, change: Partial<Node> = {}): Node {
  return {
    id: hexOf(n, 32),
    wallet: BOB,
    status: "online",
    lastSeen: 1_000 + n,
    owner: HERE,
    hardware: { cpuModel: "Test CPU", cpuCores: 8, memoryBytes: 2 ** 40, platform: "linux-x64" },
    slots: 8,
    offers: [
      { kind: "matmul", slots: 8, unitsPerSecond: 250_000 },
      { kind: "wasm", slots: 2 },
    ],
    version: "0.1.0",
    confirmed: true,
    ...change,
  };
}
