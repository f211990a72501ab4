import { ManualClock } from "@proof-of-compute/tests/support/manual-clock";
import { expect, test } from "vitest";
import { Cached } from "./cached.ts";

function make() {
  const clock = new ManualClock();
  const readings: PromiseWithResolvers<number>[] = [];
  const cached = new Cached<number>(
    { clock },
    {
      ttlMs: 100,
      read: () => {
        const reading = Promise.withResolvers<number>();
        readings.push(reading);
        return reading.promise;
      },
    },
  );
  return { clock, cached, readings };
}

test("shares a read under way with every caller, however long it takes", async () => {
  const { clock, cached, readings } = make();
  const first = cached.get();
  clock.advance(1_000);
  const second = cached.get();
  readings[0]!.resolve(1);
  expect([await first, await second, readings.length]).toEqual([1, 1, 1]);
});

test("repeats a value until it is too old, counted from the start of its read", async () => {
  const { clock, cached, readings } = make();
  const first = cached.get();
  clock.advance(60);
  readings[0]!.resolve(1);
  await first;
  clock.advance(39);
  expect([await cached.get(), readings.length]).toEqual([1, 1]);
  clock.advance(1);
  const next = cached.get();
  readings[1]!.resolve(2);
  expect(await next).toBe(2);
});

test("a failed read fails for all callers that shared it, and the next call reads again", async () => {
  const { cached, readings } = make();
  const both = [cached.get(), cached.get()];
  readings[0]!.reject(new Error("away"));
  for (const one of both) await expect(one).rejects.toThrow("away");
  const next = cached.get();
  readings[1]!.resolve(3);
  expect([await next, readings.length]).toEqual([3, 2]);
});
