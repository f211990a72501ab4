import { ManualClock } from "@proof-of-compute/tests/support/manual-clock";
import { expect, test } from "vitest";
import { UploadBudget } from "./uploads.ts";

const live = new AbortController().signal;

test("memory goes to who came first, however little the next ones want", async () => {
  const budget = new UploadBudget({ clock: new ManualClock() }, { maxBytes: 100 });
  const first = await budget.open(60, live);
  const served: string[] = [];
  const large = budget.open(80, live).then((upload) => {
    served.push("large");
    return upload;
  });
  const small = budget.open(10, live).then(() => served.push("small"));
  await Promise.resolve();
  expect(served).toEqual([]);
  first!.release();
  await Promise.all([large, small]);
  expect(served).toEqual(["large", "small"]);
});

test("a stream that is gone waits no longer, and nobody waits for it", async () => {
  const budget = new UploadBudget({ clock: new ManualClock() }, { maxBytes: 100 });
  await budget.open(60, live);
  const stream = new AbortController();
  const gone = budget.open(80, stream.signal);
  const next = budget.open(40, live);
  stream.abort();
  expect(await gone).toBeUndefined();
  expect(await next).toBeDefined();
  expect(await budget.open(1, stream.signal)).toBeUndefined();
});

test("an upload that drips is too slow after a minute, one that flows is not", async () => {
  const clock = new ManualClock();
  const budget = new UploadBudget({ clock }, { maxBytes: 2 ** 30 });
  const [drips, flows] = [await budget.open(2 ** 24, live), await budget.open(2 ** 24, live)];
  for (let second = 0; second < 61; second++) {
    expect(drips!.isSlow(clock.monotonic())).toBe(false);
    drips!.add(BigInt(second), Buffer.alloc(1));
    flows!.add(BigInt(second * 40_000), Buffer.alloc(40_000));
    clock.advance(1_000);
  }
  expect(drips!.isSlow(clock.monotonic())).toBe(true);
  expect(flows!.isSlow(clock.monotonic())).toBe(false);
  // To start again buys no time.
  flows!.add(0n, Buffer.alloc(1));
  expect(flows!.isSlow(clock.monotonic())).toBe(true);
});
