import { randomBytes } from "node:crypto";
import { sha256 } from "@proof-of-compute/proto";
import type { Claim } from "@proof-of-compute/proto/kinds";
import { computeProduct, type MatmulSpec, productOf } from "@proof-of-compute/proto/kinds/matmul";
import { expect, test, vi } from "vitest";
import type { CheckPool } from "../kind.ts";
import { MatmulChecker } from "./check.ts";
import judge from "./check.worker.ts";
import type { PackedClaims } from "./packed-claims.ts";

/** A pool whose work is done here, with the number of claims of each message. */
function aPool(threads: number) {
  const sizes: number[] = [];
  const run = vi.fn(async (_worker: URL, packed: PackedClaims) => {
    sizes.push(packed.shapes.length / 3);
    return judge(packed);
  });
  return { pool: { threads, run } as unknown as CheckPool, run, sizes };
}

function aClaim(n = 64, change: (output: Uint8Array) => Uint8Array = (output) => output): Claim<MatmulSpec> {
  const [assignmentId, taskId] = [randomBytes(16), randomBytes(16)];
  const work = { assignmentId, taskId, nodeId: randomBytes(32), specDigest: randomBytes(32), spec: { n, k: 2 } };
  const output = change(computeProduct(productOf(work))!);
  return { ...work, output, outputDigest: sha256(output) };
}

test("spreads small results of one turn over the threads, and sends a large one alone", async () => {
  const { pool, sizes } = aPool(2);
  const checker = new MatmulChecker(pool);
  const claims = [...Array.from({ length: 5 }, () => aClaim()), aClaim(320)];
  const judgements = await Promise.all(claims.map((claim) => checker.judge(claim)));
  expect(sizes).toEqual([3, 2, 1]);
  expect(judgements).toEqual([
    ...Array(5).fill({ outcome: "accepted", units: 1n }),
    { outcome: "accepted", units: 125n },
  ]);
});

test("sends at most 32 results in one message", async () => {
  const { pool, sizes } = aPool(1);
  const checker = new MatmulChecker(pool);
  const wrong = aClaim(64, (output) => output.subarray(1));
  await Promise.all(Array.from({ length: 70 }, () => checker.judge(wrong)));
  expect(sizes).toEqual([32, 32, 6]);
});

test.each([
  ["OUT_OF_RANGE", (output: Uint8Array) => output.with(7, 251)],
  ["WRONG_PRODUCT", (output: Uint8Array) => output.with(7, (output[7]! + 1) % 251)],
])("tells apart why a product is wrong: %s", async (reason, change) => {
  const checker = new MatmulChecker(aPool(1).pool);
  expect(await checker.judge(aClaim(64, change))).toEqual({ outcome: "rejected", reason });
});

test("fails for every result of a message whose worker died", async () => {
  const { pool, run } = aPool(1);
  run.mockRejectedValue(new Error("the worker died"));
  const checker = new MatmulChecker(pool);
  const results = await Promise.allSettled([aClaim(), aClaim()].map((claim) => checker.judge(claim)));
  expect(results.map(({ status }) => status)).toEqual(["rejected", "rejected"]);
});
