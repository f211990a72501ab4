import { expect, test } from "vitest";
import { Queue } from "./queue.ts";

const [A, B, C] = ["0xA", "0xB", "0xC"] as const;
const NOBODY = new Set<never>();

test("gives requesters their turns, however long their queues", () => {
  const queue = new Queue();
  for (let task = 0; task < 100; task++) queue.add(A, 1);
  queue.add(B, 1);
  queue.add(C, 1);
  expect(queue.size).toBe(102);
  expect([1, 2, 3, 4].map(() => queue.turn(1, NOBODY))).toEqual([[A], [B], [C], [A]]);
  expect(queue.turn(2, NOBODY)).toEqual([B, C]);
  expect(queue.turn(5, new Set([A]))).toEqual([B, C]);
});

test("gives no turn to a requester without tasks", () => {
  const queue = new Queue();
  queue.add(A, 1);
  queue.add(B, 2);
  queue.add(A, -1);
  expect([queue.depth(A), queue.depth(B), queue.size]).toEqual([0, 2, 2]);
  expect(queue.turn(5, NOBODY)).toEqual([B]);
});

test("replaces its counts with those of the store, and keeps the order of turns", async () => {
  const queue = new Queue();
  queue.add(A, 5);
  queue.add(B, 5);
  queue.turn(1, NOBODY);
  await queue.refresh(async () => [
    { requester: A, queued: 1 },
    { requester: C, queued: 2 },
    { requester: B, queued: 3 },
  ]);
  expect(queue.size).toBe(6);
  expect(queue.turn(3, NOBODY)).toEqual([B, A, C]);
});

test("does not overlook a task that is queued while the store is read", async () => {
  const queue = new Queue();
  await queue.refresh(async () => {
    queue.add(A, 1);
    return [];
  });
  expect(queue.turn(1, NOBODY)).toEqual([A]);
});
