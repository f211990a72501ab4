import { expect, test } from "vitest";
import { Coalescer } from "./coalescer.ts";

/** A coalescer whose runs end by hand; `most` is how many ran at once. */
function byHand() {
  const runs: PromiseWithResolvers<void>[] = [];
  let running = 0;
  const seen = { most: 0 };
  const coalescer = new Coalescer(async () => {
    seen.most = Math.max(seen.most, ++running);
    const run = Promise.withResolvers<void>();
    runs.push(run);
    await run.promise.finally(() => running--);
  });
  return { coalescer, runs, seen };
}

const turn = () => new Promise((resolve) => setImmediate(resolve));

test("starts the first run at once, and a run for each request that comes while idle", async () => {
  const { coalescer, runs } = byHand();
  for (const count of [1, 2]) {
    const request = coalescer.request();
    expect(runs).toHaveLength(count);
    runs[count - 1]!.resolve();
    await request;
  }
});

test("makes one more run for all requests during a run, and never two at once", async () => {
  const { coalescer, runs, seen } = byHand();
  const first = coalescer.request();
  const later = [coalescer.request(), coalescer.request(), coalescer.request()];
  await turn();
  expect(runs).toHaveLength(1);
  runs[0]!.resolve();
  await first;
  await turn();
  expect(runs).toHaveLength(2);
  runs[1]!.resolve();
  await Promise.all(later);
  await turn();
  expect(runs).toHaveLength(2);
  expect(seen.most).toBe(1);
});

test("a request between two runs starts no third beside them", async () => {
  const { coalescer, runs, seen } = byHand();
  const requests = [coalescer.request(), coalescer.request()];
  runs[0]!.resolve();
  for (let microtask = 0; microtask < 10; microtask++) {
    requests.push(coalescer.request());
    await undefined;
  }
  for (const count of [2, 3]) {
    await turn();
    expect(runs).toHaveLength(count);
    runs[count - 1]!.resolve();
  }
  await Promise.all(requests);
  expect(seen.most).toBe(1);
});

test("a request resolves with the run that covers it, not with the one before", async () => {
  const { coalescer, runs } = byHand();
  void coalescer.request();
  let covered = false;
  const second = coalescer.request().then(() => {
    covered = true;
  });
  runs[0]!.resolve();
  await turn();
  expect(covered).toBe(false);
  runs[1]!.resolve();
  await second;
});

test("a run that fails rejects its own requests alone", async () => {
  const { coalescer, runs } = byHand();
  const first = coalescer.request();
  const second = coalescer.request();
  runs[0]!.reject(new Error("broken"));
  await expect(first).rejects.toThrow("broken");
  await turn();
  runs[1]!.resolve();
  await expect(second).resolves.toBeUndefined();
});

test("work that throws instead of rejecting rejects its request and blocks nothing", async () => {
  let calls = 0;
  const coalescer = new Coalescer(() => {
    if (++calls === 1) throw new Error("broken");
    return Promise.resolve();
  });
  await expect(coalescer.request()).rejects.toThrow("broken");
  await expect(coalescer.request()).resolves.toBeUndefined();
});

test("idle waits for the present run and for the one that is due, failed or not", async () => {
  const { coalescer, runs } = byHand();
  await coalescer.idle();
  const requests = [coalescer.request(), coalescer.request()];
  let idle = false;
  const waiting = coalescer.idle().then(() => {
    idle = true;
  });
  runs[0]!.resolve();
  await turn();
  expect(idle).toBe(false);
  runs[1]!.reject(new Error("broken"));
  await expect(requests[1]).rejects.toThrow("broken");
  await waiting;
});
