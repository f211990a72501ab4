import { setImmediate } from "node:timers/promises";
import { expect, test } from "vitest";
import { chunksOf, Lane, roundsOf } from "./lane.ts";

test("sends the writes of a turn in one trip, and those that come meanwhile in the next", async () => {
  const trips: number[][] = [];
  const gate = Promise.withResolvers<void>();
  const lane = new Lane<number, number>(async (items) => {
    trips.push([...items]);
    if (trips.length === 1) await gate.promise;
    return items.map((item) => item * 10);
  });
  const first = [1, 2, 3].map((item) => lane.push(item));
  while (trips.length === 0) await setImmediate();
  const second = [4, 5].map((item) => lane.push(item));
  await setImmediate();
  expect(trips).toEqual([[1, 2, 3]]);
  gate.resolve();
  expect(await Promise.all([...first, ...second])).toEqual([10, 20, 30, 40, 50]);
  expect(trips).toEqual([
    [1, 2, 3],
    [4, 5],
  ]);
});

test("runs a lone call after earlier and before later writes", async () => {
  const seen: unknown[] = [];
  const lane = new Lane<string, void>(async (items) => {
    seen.push([...items]);
    await setImmediate();
    return items.map(() => undefined);
  });
  const calls = [
    lane.alone(async () => seen.push("first")),
    lane.push("a"),
    lane.push("b"),
    lane.alone(async () => {
      await setImmediate();
      seen.push("between");
    }),
    lane.push("c"),
    lane.idle().then(() => seen.push("idle")),
  ];
  await Promise.all(calls);
  expect(seen).toEqual(["first", ["a", "b"], "between", ["c"], "idle"]);
});

test("a failed trip rejects its own writes, and the lane continues", async () => {
  const lane = new Lane<string, string>(async (items) => {
    if (items.includes("bad")) throw new Error("away");
    return items;
  });
  const failed = await Promise.allSettled([lane.push("bad"), lane.push("beside it")]);
  expect(failed.map(({ status }) => status)).toEqual(["rejected", "rejected"]);
  await expect(lane.alone(() => Promise.reject(new Error("alone")))).rejects.toThrow("alone");
  expect(await lane.push("good")).toBe("good");
});

test("a trip stays below the size limit of a command", async () => {
  const sizes: number[] = [];
  const lane = new Lane<number, number>(async (items) => {
    sizes.push(items.length);
    return items;
  });
  await Promise.all(Array.from({ length: 1_200 }, (_, item) => lane.push(item)));
  expect(sizes).toEqual([500, 500, 200]);
});

test("no round has two writes of one subject, and their order stays", () => {
  const writes = ["a1", "b1", "a2", "c1", "a3", "b2"];
  expect(roundsOf(writes, (write) => write[0]!)).toEqual([["a1", "b1", "c1"], ["a2", "b2"], ["a3"]]);
  expect(chunksOf([1, 2, 3, 4, 5], 2)).toEqual([[1, 2], [3, 4], [5]]);
  expect(chunksOf([], 2)).toEqual([]);
});
