import { createHash } from "node:crypto";
import { matmulSeed, referenceProduct } from "@proof-of-compute/proto/kinds/matmul";
import { type MatmulSpec, TaskSpec } from "@proof-of-compute/proto/task";
import { afterAll, describe, expect, test } from "vitest";
import { UnsupportedError } from "../kind.ts";
import { MatmulExecutor } from "./executor.ts";

const executor = new MatmulExecutor({ threads: 2 });
afterAll(() => executor.stop());

function work(id: number, n: number, k: number) {
  const spec: TaskSpec = {
    chainId: 0n,
    contract: Buffer.alloc(0),
    requester: Buffer.alloc(20, 1),
    deadlineUnixMs: 0n,
    kind: { $case: "matmul", value: { n, k } },
  };
  return {
    assignmentId: Buffer.alloc(16, id),
    taskId: Buffer.alloc(16, 7),
    nodeId: Buffer.alloc(32, 9),
    specDigest: createHash("sha256").update(TaskSpec.encode(spec).finish()).digest(),
    spec,
  };
}

describe("the matmul executor", () => {
  test("computes what the reference computes, in groups of mixed sizes", async () => {
    const works = Array.from({ length: 40 }, (_, i) => work(i, i % 7 === 0 ? 128 : 64, 2 + (i % 3)));
    const outputs = await Promise.all(works.map((each) => executor.execute(each).done));
    for (const [i, each] of works.entries()) {
      const { n, k } = each.spec.kind!.value as MatmulSpec;
      const expected = referenceProduct({ seed: matmulSeed(each), n, k });
      expect(Buffer.from(outputs[i]!.output).equals(expected)).toBe(true);
      expect(Buffer.from(outputs[i]!.outputDigest)).toEqual(createHash("sha256").update(expected).digest());
    }
  });

  test("spreads a large task over idle threads, and tells how far it is", async () => {
    const each = work(5, 576, 3);
    const execution = executor.execute(each);
    const { output, outputDigest } = (await execution.done)!;
    const expected = referenceProduct({ seed: matmulSeed(each), n: 576, k: 3 });
    expect(Buffer.from(output).equals(expected)).toBe(true);
    expect(Buffer.from(outputDigest)).toEqual(createHash("sha256").update(expected).digest());
    expect(execution.fraction()).toBe(1);
  });

  test("stops all threads of a large task", async () => {
    const execution = executor.execute(work(6, 2048, 64));
    await expect.poll(() => execution.fraction(), { timeout: 20_000 }).toBeGreaterThan(0);
    execution.cancel();
    expect(await execution.done).toBeNull();
    const two = [work(7, 64, 2), work(8, 64, 2)].map((each) => executor.execute(each).done);
    expect(await Promise.all(two)).not.toContain(null);
  });

  test("stops a waiting and a running execution, and goes on with others", async () => {
    const running = [work(1, 2048, 64), work(2, 2048, 64)].map((each) => executor.execute(each));
    const waiting = executor.execute(work(3, 2048, 64));
    waiting.cancel();
    expect(await waiting.done).toBeNull();
    await expect
      .poll(() => Math.min(...running.map((each) => each.fraction())), { timeout: 20_000 })
      .toBeGreaterThan(0);
    for (const each of running) each.cancel();
    expect(await Promise.all(running.map((each) => each.done))).toEqual([null, null]);
    expect(await executor.execute(work(4, 64, 2)).done).not.toBeNull();
  });

  test.each([
    [65, 2],
    [64, 1],
    [8192, 2],
    [64, 65],
  ])("refuses n=%i k=%i as unsupported", (n, k) => {
    expect(() => executor.plan(work(1, n, k).spec)).toThrow(UnsupportedError);
  });

  test("refuses a kind that it does not know", () => {
    expect(() => executor.plan({ ...work(1, 64, 2).spec, kind: undefined })).toThrow(UnsupportedError);
  });

  test("plans units, output and memory", () => {
    expect(executor.plan(work(1, 1024, 5).spec)).toEqual({
      title: "matmul n=1024 k=5",
      units: 16384n,
      outputBytes: 1 << 20,
      memoryBytes: 9 << 20,
      tiny: false,
    });
  });
});
