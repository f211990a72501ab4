import type { Address, Hex } from "@proof-of-compute/proto";
import mongoose from "mongoose";
import { expect, test } from "vitest";
import { accept, assign, type Task } from "../../domain/task.ts";
import type { Collections } from "./models.ts";
import { ReceiptCopies } from "./receipt-copies.ts";
import { changeOf, hasWritten, newTask, type TaskDocument, toTask } from "./task-documents.ts";
import { TaskWrites } from "./task-writes.ts";

const OWNER = { coordinatorId: "a", incarnation: "0x01" as Hex };
const WALLET: Address = "0x70997970C51812dc3A010C7d01b50e0d17dc79C8";

function aTask(id: Hex): Task {
  return {
    id,
    version: 1,
    requester: WALLET,
    kind: "echo",
    spec: Uint8Array.of(1, 2, 3),
    state: "queued",
    createdAt: 1,
    deadline: 9,
    notBefore: 1,
    attempts: 0,
    assignments: {},
  };
}

function running(task: Task): Task {
  return assign(task, { id: "0xaa", nodeId: "0xbb", wallet: WALLET, assignedAt: 2 }, OWNER);
}

interface Operation {
  readonly updateOne: {
    readonly filter: { readonly _id: Hex; readonly version?: number };
    readonly update: { readonly $set?: Record<string, unknown>; readonly $setOnInsert?: Record<string, unknown> };
  };
}

/** A minimal collection of tasks; `answer` may misreport a bulk, as a retry after a lost answer does. */
function fakeTasks(answer: (counted: { matched: number; upserted: Record<number, Hex> }) => unknown) {
  const documents = new Map<Hex, Record<string, unknown>>();
  const bulks: Operation[][] = [];
  let finds = 0;
  const tasks = {
    async bulkWrite(operations: Operation[]) {
      bulks.push(operations);
      let matched = 0;
      const upserted: Record<number, Hex> = {};
      for (const [index, { updateOne }] of operations.entries()) {
        const { filter, update } = updateOne;
        const stored = documents.get(filter._id);
        if (update.$setOnInsert) {
          if (stored) matched++;
          else {
            documents.set(filter._id, { _id: filter._id, ...update.$setOnInsert });
            upserted[index] = filter._id;
          }
        } else if (stored?.version === filter.version) {
          matched++;
          const { writes, ...rest } = stored as unknown as TaskDocument;
          const entries = Object.entries(update.$set!);
          const tokens = entries
            .filter(([path]) => path.startsWith("writes."))
            .map(([path, token]) => [path.slice(7), token]);
          documents.set(filter._id, {
            ...rest,
            ...Object.fromEntries(entries.filter(([path]) => !path.startsWith("writes."))),
            writes: { ...writes, ...Object.fromEntries(tokens) },
          });
        }
      }
      return answer({ matched, upserted });
    },
    find: ({ _id }: { _id: { $in: Hex[] } }) => ({
      toArray: async () => {
        finds++;
        return _id.$in.flatMap((id) => documents.get(id) ?? []);
      },
    }),
  };
  const connection = { trip: <T>(run: (all: Collections) => Promise<T>) => run({ tasks } as unknown as Collections) };
  const writes = new TaskWrites(connection, new ReceiptCopies(connection));
  return { writes, bulks, documents, finds: () => finds };
}

const truly = ({ matched, upserted }: { matched: number; upserted: Record<number, Hex> }) => ({
  matchedCount: matched,
  upsertedIds: upserted,
});

test("sends the inserts and saves of a turn in one trip", async () => {
  const { writes, bulks, finds } = fakeTasks(truly);
  const [a, b, c] = [aTask("0x0a"), aTask("0x0b"), aTask("0x0c")];
  await Promise.all([writes.insert(a), writes.insert(b)]);
  const outcomes = await Promise.all([writes.insert(c), writes.save(running(a)), writes.save(running(b))]);
  expect(outcomes).toEqual([{ task: c, created: true }, true, true]);
  expect(bulks.map((operations) => operations.length)).toEqual([2, 3]);
  expect(finds()).toBe(0);
});

test("sends only the first of competing saves of a turn", async () => {
  const { writes, bulks } = fakeTasks(truly);
  const task = aTask("0x0a");
  await writes.insert(task);
  const rivals = [1, 2, 3].map(() => writes.save(running(task)));
  expect(await Promise.all(rivals)).toEqual([true, false, false]);
  expect(bulks.map((operations) => operations.length)).toEqual([1, 1]);
});

test("sends two writes of one task in order, in separate trips", async () => {
  const { writes, bulks, documents } = fakeTasks(truly);
  const task = aTask("0x0a");
  const next = running(task);
  const last = { ...next, version: 3 };
  expect(await Promise.all([writes.insert(task), writes.save(next), writes.save(last)])).toEqual([
    { task, created: true },
    true,
    true,
  ]);
  expect(bulks).toHaveLength(3);
  expect(documents.get("0x0a")).toMatchObject({ version: 3 });
});

test("finds lost writes by reading back", async () => {
  const { writes, finds } = fakeTasks(truly);
  const [a, b] = [aTask("0x0a"), aTask("0x0b")];
  await Promise.all([writes.insert(a), writes.insert(b)]);
  await writes.save(running(b));
  expect(await Promise.all([writes.save(running(a)), writes.save(running(b))])).toEqual([true, false]);
  expect(await writes.insert(a)).toEqual({ task: running(a), created: false });
  expect(await writes.save({ ...aTask("0x0c"), version: 2 })).toBe(false);
  expect(finds()).toBe(3);
});

test("recognizes a write by its token when the answer was lost", async () => {
  // The first attempt did all the work; the answer comes from a retry that found nothing to do.
  const { writes } = fakeTasks(() => ({ matchedCount: 0, upsertedIds: {} }));
  const task = aTask("0x0a");
  expect(await writes.insert(task)).toEqual({ task, created: true });
  expect(await writes.save(running(task))).toBe(true);
  expect(await writes.save(running(task))).toBe(false);
});

test("a document has the whole task, and the fields of queries while they apply", () => {
  const task = { ...aTask("0x0a"), requestDigest: "0xdd" as Hex };
  const next = running(task);
  const receipt = { receiptId: "0xaa", taskId: task.id, units: 2n ** 62n, acceptedAt: 5 } as never;
  const done = accept(next, receipt);
  const stored = (version: Task) => newTask(version, "token");
  for (const version of [task, next]) expect(toTask(stored(version))).toEqual(version);
  expect(toTask(stored(done))).toMatchObject({ state: "verified", endedAt: 5 });
  expect(stored(next)).toMatchObject({ owner_key: "0x01 a", live_node: "0xbb", live_assignment: "0xaa", due_at: 9 });
  const { $set, $unset } = changeOf(done, "token", { uncopied: true, output: Uint8Array.of(7) });
  expect($set).toMatchObject({ ended_at: 5, uncopied: true, output: new mongoose.mongo.Binary(Uint8Array.of(7)) });
  expect(Object.keys($unset!).toSorted()).toEqual(
    ["due_at", "error", "live_assignment", "live_node", "owner", "owner_key"].toSorted(),
  );
  for (const asked of ["requester", "kind", "spec", "created_at", "deadline", "request_digest"]) {
    expect($set).not.toHaveProperty(asked);
  }
});

test("ignores tokens of other versions", () => {
  const { writes } = newTask(aTask("0x0a"), "mine");
  expect(hasWritten({ writes }, 1, "mine")).toBe(true);
  expect(hasWritten({ writes }, 1, "other")).toBe(false);
  expect(hasWritten({ writes }, 2, "mine")).toBe(false);
});
