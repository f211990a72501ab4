import { createHash } from "node:crypto";
import type { Work } from "@proof-of-compute/proto/kinds";
import { type MatmulSpec, productOf, referenceProduct } from "@proof-of-compute/proto/kinds/matmul";
import { afterAll, describe, expect, test, vi } from "vitest";
import { MatmulExecutor } from "./executor.ts";

vi.mock("./rate.ts", () => ({ threadRate: async () => 1_000 }));

const executor = new MatmulExecutor({ threads: 2 });
afterAll(() => executor.stop());

const sha256 = (bytes: Uint8Array) => createHash("sha256").update(bytes).digest();

function work(id: number, n: number, k: number): Work<MatmulSpec> {
  return {
    assignmentId: new Uint8Array(16).fill(id),
    taskId: new Uint8Array(16).fill(7),
    nodeId: new Uint8Array(32).fill(9),
    specDigest: sha256(Uint8Array.of(n / 64, k)),
    spec: { n, k },
  };
}

/** An execution that its test may stop. */
function run(each: Work<MatmulSpec>) {
  const abort = new AbortController();
  const execution = executor.execute(each, abort);
  execution.done.catch(() => {});
  return { done: execution.done, fraction: () => execution.fraction!(), stop: () => abort.abort() };
}

const aborted = { name: "AbortError" };

describe("the matmul executor", () => {
  test("computes the same as the reference, in groups of mixed sizes", async () => {
    const works = Array.from({ length: 40 }, (_, i) => work(i, i % 7 === 0 ? 128 : 64, 2 + (i % 3)));
    const outputs = await Promise.all(works.map((each) => run(each).done));
    for (const [i, each] of works.entries()) {
      const expected = referenceProduct(productOf(each));
      expect(Buffer.from(outputs[i]!.output).equals(expected)).toBe(true);
      expect(Buffer.from(outputs[i]!.outputDigest!)).toEqual(sha256(expected));
    }
  });

  test("spreads a large task over idle threads, and reports progress", async () => {
    const each = work(5, 576, 3);
    const execution = run(each);
    const { output, outputDigest } = await execution.done;
    const expected = referenceProduct(productOf(each));
    expect(Buffer.from(output).equals(expected)).toBe(true);
    expect(Buffer.from(outputDigest!)).toEqual(sha256(expected));
    expect(execution.fraction()).toBe(1);
  });

  test("computes a small task beside a large one that has all threads", async () => {
    const large = run(work(9, 4096, 64));
    await expect.poll(() => large.fraction(), { timeout: 20_000 }).toBeGreaterThan(0);
    const small = work(10, 128, 2);
    expect(Buffer.from((await run(small).done).output).equals(referenceProduct(productOf(small)))).toBe(true);
    expect(large.fraction()).toBeLessThan(1);
    large.stop();
    await expect(large.done).rejects.toMatchObject(aborted);
  });

  test("lets no more tasks run at once than there are threads", async () => {
    const large = run(work(11, 2048, 64));
    await expect.poll(() => large.fraction(), { timeout: 20_000 }).toBeGreaterThan(0);
    const [beside, waiting] = [run(work(12, 2048, 64)), run(work(13, 64, 2))];
    await expect.poll(() => beside.fraction(), { timeout: 20_000 }).toBeGreaterThan(0);
    expect(waiting.fraction()).toBe(0);
    large.stop();
    expect((await waiting.done).output).toHaveLength(64 * 64);
    beside.stop();
    await expect(beside.done).rejects.toMatchObject(aborted);
  });

  test("stops all threads of a large task", async () => {
    const execution = run(work(6, 2048, 64));
    await expect.poll(() => execution.fraction(), { timeout: 20_000 }).toBeGreaterThan(0);
    execution.stop();
    await expect(execution.done).rejects.toMatchObject(aborted);
    const two = [work(7, 64, 2), work(8, 64, 2)].map((each) => run(each).done);
    expect(await Promise.all(two)).toHaveLength(2);
  });

  test("stops a waiting and a running execution, and continues with others", async () => {
    const running = [work(1, 2048, 64), work(2, 2048, 64)].map(run);
    const waiting = run(work(3, 2048, 64));
    waiting.stop();
    await expect(waiting.done).rejects.toMatchObject(aborted);
    await expect
      .poll(() => Math.min(...running.map((each) => each.fraction())), { timeout: 20_000 })
      .toBeGreaterThan(0);
    for (const each of running) each.stop();
    for (const each of running) await expect(each.done).rejects.toMatchObject(aborted);
    expect((await run(work(4, 64, 2)).done).output).toHaveLength(64 * 64);
  });

  test("does not begin an execution that is already stopped", async () => {
    const { done } = executor.execute(work(14, 64, 2), { signal: AbortSignal.abort() });
    await expect(done).rejects.toMatchObject(aborted);
  });

  test.each([
    [2, 1_000],
    [8, 250],
  ])("has slots that share its two threads: %d compute %d units a second each", async (slots, rate) => {
    const sharing = new MatmulExecutor({ threads: 2, slots });
    expect(await sharing.rate()).toBe(rate);
    expect(sharing.rateKey === executor.rateKey).toBe(slots === 2);
    await sharing.stop();
  });

  test("plans units, output and memory", () => {
    expect(executor.plan({ n: 1024, k: 5 })).toEqual({
      title: "matmul n=1024 k=5",
      maxUnits: 16384n,
      unitsAreExact: true,
      maxOutputBytes: 1 << 20,
      memoryBytes: 9 << 20,
      tiny: false,
    });
    expect(executor.plan({ n: 64, k: 2 }).tiny).toBe(true);
  });
});
