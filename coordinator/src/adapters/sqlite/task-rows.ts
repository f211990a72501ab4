import type { Address, Hex } from "@proof-of-compute/proto";
import type { Receipt } from "../../domain/receipt.ts";
import { liveAssignment, type Task, type TaskState } from "../../domain/task.ts";
import { ownerKey } from "../owner-key.ts";
import { fromBlob, ownerFrom } from "./codec.ts";

/** A task to be written, for the store's thread. Text is the cheapest to send to it. */
export interface WrittenTask extends Pick<Task, "id" | "version" | "requester" | "state" | "createdAt"> {
  readonly notBefore: number;
  readonly deadline: number;
  readonly owner: string | null;
  readonly live: { readonly nodeId: Hex; readonly assignmentId: Hex } | null;
  readonly endedAt: number | null;
  readonly document: string;
  /** One character for each byte. */
  readonly spec: string;
}

/** A row of the table. */
export interface StoredTask {
  readonly _id: Uint8Array;
  readonly version: number;
  readonly requester: Address;
  readonly state: TaskState;
  readonly created_at: number;
  readonly not_before: number;
  readonly deadline: number;
  readonly document: string;
  readonly spec: Uint8Array;
  readonly owner: string | null;
  readonly ended_at: number | null;
}

/**
 * Bytes as text with one character for each byte: cloning a small array to another thread costs several times as much.
 */
export function textOf(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("latin1");
}

export function bytesOf(text: string): Uint8Array {
  return Buffer.from(text, "latin1");
}

export function writeTask(task: Task): WrittenTask {
  const { id, version, requester, state, createdAt, notBefore, deadline, spec } = task;
  const { kind, attempts, assignments, error, requestDigest } = task;
  // JSON has no bigint, and the spec has its own column.
  const written = mapReceipts(assignments, ({ units, spec: _, ...rest }: Receipt) => ({ ...rest, units: `${units}` }));
  const live = liveAssignment(task);
  const document = JSON.stringify({ kind, attempts, assignments: written, error, requestDigest });
  return {
    id,
    version,
    requester,
    state,
    createdAt,
    notBefore,
    deadline,
    owner: task.owner ? ownerKey(task.owner) : null,
    live: live ? { nodeId: live.nodeId, assignmentId: live.id } : null,
    endedAt: task.endedAt ?? null,
    document,
    spec: textOf(spec),
  };
}

export function readTask(row: StoredTask): Task {
  const { assignments, ...rest } = JSON.parse(row.document);
  const spec = fromBlob(row.spec);
  return {
    id: fromBlob(row._id),
    version: row.version,
    requester: row.requester,
    state: row.state,
    createdAt: row.created_at,
    notBefore: row.not_before,
    deadline: row.deadline,
    spec: row.spec,
    ...(row.owner !== null && { owner: ownerFrom(row.owner) }),
    ...(row.ended_at !== null && { endedAt: row.ended_at }),
    ...rest,
    assignments: mapReceipts(assignments, ({ units, ...said }: { readonly units: string }) => ({
      ...said,
      spec,
      units: BigInt(units),
    })) as Task["assignments"],
  };
}

function mapReceipts<From, To>(
  assignments: Readonly<Record<Hex, { readonly receipt?: From }>>,
  map: (receipt: From) => To,
): Record<Hex, { readonly receipt?: To }> {
  const mapped: Record<Hex, { readonly receipt?: To }> = {};
  for (const id in assignments) {
    const { receipt, ...rest } = assignments[id as Hex]!;
    mapped[id as Hex] = receipt === undefined ? rest : { ...rest, receipt: map(receipt) };
  }
  return mapped;
}
