import { type Hex, sha256, toHex } from "@proof-of-compute/proto";
import { matmulUnits } from "@proof-of-compute/proto/kinds/matmul";
import { TaskSpec } from "@proof-of-compute/proto/task";
import type { Batch } from "../../domain/batch.ts";
import type { Node } from "../../domain/node.ts";
import type { Receipt } from "../../domain/receipt.ts";
import type { Assignment, Task } from "../../domain/task.ts";
import type { SettlementStatus } from "../../services/settlement/status.ts";
import type { RestComponents, RestNetwork } from "./components.ts";
import type { BatchSummary, BatchView, NodeView, ReceiptView, SettlementView, TaskView } from "./schemas.ts";

/** What a batch shows beside its content. */
export type BatchProgress = Pick<Batch, "id" | "root" | "state" | "transaction" | "block">;

/** Optional fields as they are: present, or not there at all. */
function present<T extends object>(fields: T): { [K in keyof T]?: NonNullable<T[K]> } {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined && value !== null)) as {
    [K in keyof T]?: NonNullable<T[K]>;
  };
}

/** A transaction's page in the explorer, where the network has one. */
export function explorerLink(network: RestNetwork, transaction: Hex | undefined): string | undefined {
  return network.explorerUrl && transaction ? `${network.explorerUrl}/tx/${transaction}` : undefined;
}

/** State, transaction and link of a batch. */
function progressView(batch: BatchProgress, network: RestNetwork) {
  const { transaction, block } = batch;
  return {
    id: batch.id,
    state: batch.state,
    ...present({ transaction, block, explorerUrl: explorerLink(network, transaction) }),
  };
}

function viewState(task: Task, batch: BatchProgress | undefined): TaskView["state"] {
  if (task.state !== "verified" || !batch) return task.state;
  return batch.state === "recorded" ? "recorded" : "batched";
}

function assignmentView(assignment: Assignment): TaskView["assignments"][number] {
  const { id, nodeId, wallet, state, assignedAt, endedAt, reason } = assignment;
  return { id, nodeId, wallet, state, assignedAt, ...present({ endedAt, reason }) };
}

/** The receipt of a verified task. */
export function acceptedReceipt(task: Task): Receipt | undefined {
  return Object.values(task.assignments).find((assignment) => assignment.receipt)?.receipt;
}

/** What a task shows that is in no store. */
export interface LiveState {
  readonly waitingReason: string | undefined;
  /** 0 to 1 of the running assignment. */
  readonly progress: number | undefined;
}

/** A task as people see it. `batch` is the one that carries its receipt, when one does. */
export function taskView(
  task: Task,
  batch: BatchProgress | undefined,
  live: LiveState,
  network: RestNetwork,
): TaskView {
  const { kind } = TaskSpec.decode(task.spec);
  if (kind?.$case !== "matmul") throw new TypeError(`task ${task.id} is of a kind that this version cannot show`);
  const { n, k } = kind.value;
  const receipt = acceptedReceipt(task);
  return {
    id: task.id,
    kind: task.kind,
    n,
    k,
    state: viewState(task, batch),
    ...present({
      waitingReason: task.state === "queued" ? live.waitingReason : undefined,
      progress: task.state === "running" ? live.progress : undefined,
    }),
    requester: task.requester,
    units: matmulUnits(n, k).toString(),
    createdAt: task.createdAt,
    deadline: task.deadline,
    attempts: task.attempts,
    assignments: Object.values(task.assignments)
      .sort((a, b) => a.assignedAt - b.assignedAt || (a.id < b.id ? -1 : 1))
      .map(assignmentView),
    specDigest: toHex(sha256(task.spec)),
    ...(receipt && {
      resultDigest: receipt.resultDigest,
      receiptId: receipt.receiptId,
      verifiedAt: receipt.acceptedAt,
      check: { method: "freivalds", errorBound: "2^-112" },
    }),
    ...(batch && { batch: progressView(batch, network) }),
    ...(task.error && { error: task.error }),
  };
}

/** Whether nothing can change any more in what a task shows: recorded is final, verified is not. */
export function isSettled(view: TaskView): boolean {
  return view.state === "recorded" || view.state === "failed" || view.state === "cancelled";
}

/** A node, with what its open session adds. */
export function nodeView(node: Node, presence: RestComponents["presence"]): NodeView {
  const live = presence.live(node.id);
  return {
    id: node.id,
    wallet: node.wallet,
    status: node.status,
    lastSeen: node.lastSeen,
    kinds: [...node.kinds],
    slots: node.slots,
    ...(node.unitsPerSecond !== undefined && { unitsPerSecond: node.unitsPerSecond }),
    version: node.version,
    confirmed: node.confirmed,
    hardware: { ...node.hardware },
    ...(live && {
      live: { running: live.running, freeSlots: live.freeSlots, cap: live.cap, load: live.load },
    }),
  };
}

/** A receipt with the names of its kind and assurance. */
export function receiptView(receipt: Receipt): ReceiptView {
  const { proof, batchId, units, spec: _, quarantined: __, ...rest } = receipt;
  return {
    ...rest,
    units: units.toString(),
    ...present({ batchId }),
    signature: { signature: proof.signature, index: proof.index, size: proof.size, path: [...proof.path] },
  };
}

/** A batch in a list. */
export function batchSummary(batch: Batch, network: RestNetwork): BatchSummary {
  return {
    ...progressView(batch, network),
    root: batch.root,
    units: batch.units.toString(),
    providers: batch.credits.length,
    closedAt: batch.closedAt,
  };
}

/** A batch with what it credits. */
export function batchView(batch: Batch, network: RestNetwork): BatchView {
  return {
    ...batchSummary(batch, network),
    receipts: batch.receiptIds.length,
    credits: batch.credits.map(({ provider, units }) => ({ provider, units: units.toString() })),
  };
}

/** Settlement in the words of the API. */
export function settlementView(status: SettlementStatus): SettlementView {
  const { state, reason, openBatches, lastRecorded, recorderBalance } = status;
  return {
    state,
    openBatches,
    ...present({ reason, lastRecorded, recorderBalance: recorderBalance?.toString() }),
  };
}
