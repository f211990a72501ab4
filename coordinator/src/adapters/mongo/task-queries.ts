import type { Address, Hex } from "@proof-of-compute/proto";
import type mongoose from "mongoose";
import type { Owner } from "../../domain/owner.ts";
import type { Task, TaskState } from "../../domain/task.ts";
import type { Page, PageQuery } from "../../ports/pages.ts";
import type { Store } from "../../ports/store.ts";
import { ownerKey } from "../owner-key.ts";
import { isId, readCursor, toPage } from "../pages.ts";
import type { MongoConnection } from "./connection.ts";
import { chunksOf } from "./lane.ts";
import { NOBODY, type TaskDocument, toTask } from "./task-documents.ts";

type Filter = mongoose.mongo.Filter<TaskDocument>;

/** Fields that do not belong to a task. */
const UNREAD = { output: 0, writes: 0 } as const;
/** Number of queues that are read at once. */
const QUEUES_AT_ONCE = 16;
const NO_LIMIT = 0;

/** Reads of tasks. */
export class TaskQueries {
  readonly #connection: Pick<MongoConnection, "trip">;

  constructor(connection: Pick<MongoConnection, "trip">) {
    this.#connection = connection;
  }

  async get(id: Hex): Promise<Task | null> {
    const document = await this.#connection.trip(({ tasks }) => tasks.findOne({ _id: id }, { projection: UNREAD }));
    return document && toTask(document);
  }

  async versions(ids: readonly Hex[]): Promise<{ readonly id: Hex; readonly version: number }[]> {
    const found = await this.#connection.trip(({ tasks }) =>
      tasks.find({ _id: { $in: [...ids] } }, { projection: { version: 1 } }).toArray(),
    );
    return found.map(({ _id, version }) => ({ id: _id, version }));
  }

  async list({
    limit,
    cursor,
    requester,
    states,
  }: PageQuery & { readonly requester?: Address; readonly states?: readonly TaskState[] }): Promise<Page<Task>> {
    const filter: Filter = {
      ...(requester !== undefined && { requester }),
      ...(states !== undefined && { state: { $in: [...states] } }),
    };
    if (cursor !== undefined) {
      const [created_at, _id] = readCursor(cursor, isPosition);
      filter.$or = [{ created_at: { $lt: created_at } }, { created_at, _id: { $lt: _id } }];
    }
    const found = await this.#find(filter, { created_at: -1, _id: -1 }, limit + 1);
    return toPage(
      found,
      limit,
      (task) => task,
      ({ createdAt, id }) => [createdAt, id],
    );
  }

  async queued({ requesters, now, limit, excluded = [] }: Parameters<Store["queuedTasks"]>[0]): Promise<Task[]> {
    const ready = { state: "queued", not_before: { $lte: now } } as const;
    const allowed = excluded.length > 0 ? { _id: { $nin: [...excluded] } } : {};
    const queues: Task[][] = [];
    for (const some of chunksOf(limit > 0 ? requesters : [], QUEUES_AT_ONCE)) {
      const read = (requester: Address) =>
        this.#find({ ...ready, requester, ...allowed }, { not_before: 1, _id: 1 }, limit);
      queues.push(...(await Promise.all(some.map(read))));
    }
    return queues.flat();
  }

  async depths(): Promise<{ readonly requester: Address; readonly queued: number }[]> {
    const counts = await this.#connection.trip(({ tasks }) =>
      tasks
        .aggregate<{ _id: Address; queued: number }>([
          { $match: { state: "queued" } },
          { $group: { _id: "$requester", queued: { $sum: 1 } } },
        ])
        .toArray(),
    );
    return counts.map(({ _id, queued }) => ({ requester: _id, queued }));
  }

  liveOf(nodeId: Hex): Promise<Task[]> {
    return this.#find({ live_node: nodeId }, { _id: 1 }, NO_LIMIT);
  }

  async orphaned(owners: readonly Owner[], limit: number, after?: Hex): Promise<Task[]> {
    if (limit === 0) return [];
    const orphaned: Filter = { owner_key: { $exists: true, $nin: owners.map(ownerKey) } };
    return this.#find(after === undefined ? orphaned : { ...orphaned, _id: { $gt: after } }, { _id: 1 }, limit);
  }

  async liveAssignments(owner: Owner): Promise<{ readonly taskId: Hex; readonly assignmentId: Hex }[]> {
    const filter: Filter = { owner_key: ownerKey(owner), state: { $in: ["running", "cancelling"] } };
    const found = await this.#connection.trip(({ tasks }) =>
      tasks.find(filter, { projection: { live_assignment: 1 }, sort: { _id: 1 } }).toArray(),
    );
    return found.map(({ _id, live_assignment }) => ({ taskId: _id, assignmentId: live_assignment! }));
  }

  cancelling(owner: Owner): Promise<Task[]> {
    return this.#find({ owner_key: ownerKey(owner), state: "cancelling" }, { _id: 1 }, NO_LIMIT);
  }

  async overdue({ now, owner, limit }: Parameters<Store["overdueTasks"]>[0]): Promise<Task[]> {
    if (limit === 0) return [];
    const nobodysOrHis = { $in: [null, NOBODY, ownerKey(owner)] } as Filter["owner_key"];
    return this.#find({ due_at: { $lt: now }, owner_key: nobodysOrHis } as Filter, { due_at: 1, _id: 1 }, limit);
  }

  async output(id: Hex): Promise<Uint8Array | null> {
    const found = await this.#connection.trip(({ tasks }) => tasks.findOne({ _id: id }, { projection: { output: 1 } }));
    return found?.output ? Uint8Array.from(found.output.value()) : null;
  }

  /** Counts tasks by state, without states that have none. */
  async counts(): Promise<Map<TaskState, number>> {
    const states: TaskState[] = ["queued", "running", "cancelling", "verified", "failed", "cancelled"];
    const counts = await this.#connection.trip(({ tasks }) =>
      tasks
        .aggregate<{ _id: TaskState; count: number }>([
          { $match: { state: { $in: states } } },
          { $group: { _id: "$state", count: { $sum: 1 } } },
        ])
        .toArray(),
    );
    return new Map(counts.map(({ _id, count }) => [_id, count]));
  }

  async #find(filter: Filter, sort: Record<string, 1 | -1>, limit: number): Promise<Task[]> {
    const found = await this.#connection.trip(({ tasks }) =>
      tasks.find(filter, { projection: UNREAD, sort, limit }).toArray(),
    );
    return found.map(toTask);
  }
}

/** A task's position in the list: createdAt and id. */
function isPosition(value: unknown): value is [createdAt: number, id: Hex] {
  return Array.isArray(value) && value.length === 2 && Number.isSafeInteger(value[0]) && isId(value[1]);
}
