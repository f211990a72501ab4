import type { Address, Hex, TaskKindName } from "@proof-of-compute/proto";
import mongoose from "mongoose";

import { type Assignment, type AssignmentState, liveAssignment, type Task, type TaskState } from "../../domain/task.ts";
import { ownerKey } from "../owner-key.ts";
import { fromOwner, type OwnerDocument, toOwner } from "./owners.ts";
import { contentOf, fromContent, type ReceiptContent } from "./receipt-documents.ts";
import { MIXED, schemaOf, whereExists } from "./schema.ts";

interface AssignmentDocument {
  readonly node_id: Hex;
  readonly wallet_address: Address;
  readonly state: AssignmentState;
  readonly assigned_at: number;
  readonly ended_at?: number;
  readonly reason?: string;
  readonly receipt?: ReceiptContent;
}

/** The request, written once. */
interface Asked {
  readonly requester: Address;
  readonly kind: TaskKindName;
  readonly spec: mongoose.mongo.Binary;
  readonly created_at: number;
  readonly deadline: number;
  readonly request_digest?: Hex;
}

/** The part that each write replaces. */
interface Standing {
  readonly version: number;
  readonly state: TaskState;
  readonly not_before: number;
  readonly attempts: number;
  /** By assignment id. */
  readonly assignments: Readonly<Record<Hex, AssignmentDocument>>;
  readonly owner?: OwnerDocument;
  /** {@link ownerKey} of `owner`; {@link NOBODY} if a live assignment has no owner. */
  readonly owner_key?: string;
  readonly live_assignment?: Hex;
  /** The node of the live assignment. */
  readonly live_node?: Hex;
  /** The deadline, until the task ends. */
  readonly due_at?: number;
  readonly ended_at?: number;
  readonly error?: { readonly code: string; readonly detail: string };
}

/** The authoritative document of a task. */
export interface TaskDocument extends Asked, Standing {
  readonly _id: Hex;
  /** Not read with the other fields. */
  readonly output?: mongoose.mongo.Binary;
  /** Set while the task's receipt may not be in `receipts` yet. */
  readonly uncopied?: true;
  /** Tokens of the last writes, by version modulo {@link KEPT_WRITES}, by which a writer recognizes its own write. */
  readonly writes: Readonly<Record<string, string>>;
}

/** Owner key of a live task without an owner. */
export const NOBODY = "";

/** Number of writes of a task whose tokens are kept. */
const KEPT_WRITES = 8;

export const taskSchema = schemaOf<TaskDocument>({
  _id: String,
  requester: String,
  kind: String,
  spec: Buffer,
  created_at: Number,
  deadline: Number,
  request_digest: String,
  version: Number,
  state: String,
  not_before: Number,
  attempts: Number,
  assignments: MIXED,
  owner: MIXED,
  owner_key: String,
  live_assignment: String,
  live_node: String,
  due_at: Number,
  ended_at: Number,
  error: MIXED,
  output: Buffer,
  uncopied: Boolean,
  writes: MIXED,
})
  .index({ created_at: -1, _id: -1 }, { name: "by_age" })
  .index({ requester: 1, created_at: -1, _id: -1 }, { name: "by_requester" })
  .index({ state: 1, created_at: -1, _id: -1 }, { name: "by_state" })
  .index(
    { state: 1, requester: 1, not_before: 1, _id: 1 },
    { name: "queued", partialFilterExpression: { state: "queued" } },
  )
  .index({ live_node: 1, _id: 1 }, { name: "live", ...whereExists("live_node") })
  .index({ owner_key: 1, state: 1, _id: 1, live_assignment: 1 }, { name: "owned", ...whereExists("owner_key") })
  .index({ due_at: 1, _id: 1 }, { name: "due", ...whereExists("due_at") })
  .index({ ended_at: 1, _id: 1 }, { name: "ended", ...whereExists("ended_at") })
  .index({ uncopied: 1, _id: 1 }, { name: "uncopied", ...whereExists("uncopied") });

/** Optional fields; a write without them removes them. */
const OPTIONAL = ["owner", "owner_key", "live_assignment", "live_node", "due_at", "ended_at", "error"] as const;

/** A task that was never stored. */
export function newTask(task: Task, token: string): TaskDocument {
  return {
    _id: task.id,
    requester: task.requester,
    kind: task.kind,
    spec: new mongoose.mongo.Binary(task.spec),
    created_at: task.createdAt,
    deadline: task.deadline,
    ...(task.requestDigest !== undefined && { request_digest: task.requestDigest }),
    ...standingOf(task),
    writes: { [slotOf(task.version)]: token },
  };
}

/** The update to this version of the task. */
export function changeOf(
  task: Task,
  token: string,
  made: { readonly uncopied: boolean; readonly output?: Uint8Array },
) {
  const standing = standingOf(task);
  const absent = OPTIONAL.filter((field) => standing[field] === undefined);
  return {
    $set: {
      ...standing,
      [`writes.${slotOf(task.version)}`]: token,
      ...(made.uncopied && { uncopied: true as const }),
      ...(made.output && { output: new mongoose.mongo.Binary(made.output) }),
    },
    ...(absent.length > 0 && { $unset: Object.fromEntries(absent.map((field) => [field, "" as const])) }),
  };
}

/**
 * Whether the write with this token made that version of the document. Callers ask right after their write, so its token
 * has not been overwritten.
 */
export function hasWritten({ writes }: Pick<TaskDocument, "writes">, version: number, token: string): boolean {
  return writes[slotOf(version)] === token;
}

export function toTask(document: TaskDocument): Task {
  const { owner, error } = document;
  return {
    id: document._id,
    version: document.version,
    requester: document.requester,
    kind: document.kind,
    // Copied, because the driver's bytes keep the whole reply in memory.
    spec: Uint8Array.from(document.spec.value()),
    state: document.state,
    createdAt: document.created_at,
    deadline: document.deadline,
    notBefore: document.not_before,
    attempts: document.attempts,
    assignments: Object.fromEntries(
      Object.entries(document.assignments).map(([id, assignment]) => [id, toAssignment(id as Hex, assignment)]),
    ),
    ...(owner && { owner: toOwner(owner) }),
    ...(document.ended_at !== undefined && { endedAt: document.ended_at }),
    ...(error && { error }),
    ...(document.request_digest !== undefined && { requestDigest: document.request_digest }),
  };
}

/** The receipts of a task, by id. */
export function receiptsIn({ assignments }: Pick<TaskDocument, "assignments">): [Hex, ReceiptContent][] {
  return Object.entries(assignments).flatMap(([id, { receipt }]) => (receipt ? [[id as Hex, receipt]] : []));
}

function standingOf(task: Task): Standing {
  const live = liveAssignment(task);
  return {
    version: task.version,
    state: task.state,
    not_before: task.notBefore,
    attempts: task.attempts,
    assignments: Object.fromEntries(Object.values(task.assignments).map((one) => [one.id, fromAssignment(one)])),
    ...(task.owner && { owner: fromOwner(task.owner) }),
    ...((task.owner || live) && { owner_key: task.owner ? ownerKey(task.owner) : NOBODY }),
    ...(live && { live_assignment: live.id, live_node: live.nodeId }),
    ...(task.endedAt === undefined ? { due_at: task.deadline } : { ended_at: task.endedAt }),
    ...(task.error && { error: task.error }),
  };
}

function slotOf(version: number): number {
  return version % KEPT_WRITES;
}

function fromAssignment({ nodeId, wallet, state, assignedAt, endedAt, reason, receipt }: Assignment) {
  return {
    node_id: nodeId,
    wallet_address: wallet,
    state,
    assigned_at: assignedAt,
    ...(endedAt !== undefined && { ended_at: endedAt }),
    ...(reason !== undefined && { reason }),
    ...(receipt && { receipt: contentOf(receipt) }),
  };
}

function toAssignment(id: Hex, document: AssignmentDocument): Assignment {
  const { ended_at: endedAt, reason, receipt } = document;
  return {
    id,
    nodeId: document.node_id,
    wallet: document.wallet_address,
    state: document.state,
    assignedAt: document.assigned_at,
    ...(endedAt !== undefined && { endedAt }),
    ...(reason !== undefined && { reason }),
    ...(receipt && { receipt: fromContent(id, receipt) }),
  };
}
