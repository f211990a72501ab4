import { ManualClock } from "@proof-of-compute/tests/support/manual-clock";
import { expect, test, vi } from "vitest";
import { retry } from "./retry.ts";

/** Fails `failures` times, then succeeds. */
function failing(failures: number) {
  let left = failures;
  return vi.fn(async () => {
    if (left-- > 0) throw new Error(`${left} more`);
    return "done";
  });
}

test("repeats until it succeeds, with the delay after each failure, and tells of every one", async () => {
  const clock = new ManualClock();
  const attempt = failing(2);
  const onError = vi.fn();
  const result = retry(clock, new AbortController().signal, attempt, { delayMs: 500, onError });
  await clock.run(1);
  await clock.run(499);
  expect(attempt).toHaveBeenCalledTimes(1);
  await clock.run(1);
  expect(attempt).toHaveBeenCalledTimes(2);
  await clock.run(500);
  await expect(result).resolves.toBe("done");
  expect(onError.mock.calls).toEqual([
    [new Error("1 more"), 1],
    [new Error("0 more"), 2],
  ]);
  expect(clock.pending).toBe(0);
});

test("an abort ends the wait at once, with its reason and without a timer left", async () => {
  const clock = new ManualClock();
  const stop = new AbortController();
  const attempt = failing(9);
  const result = retry(clock, stop.signal, attempt, { delayMs: 500 });
  await clock.run(1);
  stop.abort(new Error("stopping"));
  await expect(result).rejects.toThrow("stopping");
  expect(attempt).toHaveBeenCalledTimes(1);
  expect(clock.pending).toBe(0);
});

test("nothing is attempted after an abort", async () => {
  const attempt = failing(0);
  const aborted = AbortSignal.abort(new Error("stopping"));
  await expect(retry(new ManualClock(), aborted, attempt, { delayMs: 1 })).rejects.toThrow("stopping");
  expect(attempt).not.toHaveBeenCalled();
});

test("an attempt under way at the abort counts if it succeeds", async () => {
  const stop = new AbortController();
  const attempt = Promise.withResolvers<string>();
  const result = retry(new ManualClock(), stop.signal, () => attempt.promise, { delayMs: 1 });
  stop.abort(new Error("stopping"));
  attempt.resolve("done");
  await expect(result).resolves.toBe("done");
});

test("what onError throws ends the attempts", async () => {
  const attempt = failing(9);
  const giveUp = () => {
    throw new Error("no use");
  };
  const signal = new AbortController().signal;
  await expect(retry(new ManualClock(), signal, attempt, { delayMs: 1, onError: giveUp })).rejects.toThrow("no use");
  expect(attempt).toHaveBeenCalledTimes(1);
});
