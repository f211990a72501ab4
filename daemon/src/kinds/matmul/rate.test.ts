import type { Work } from "@proof-of-compute/proto/kinds";
import { computeProduct, type MatmulSpec, productOf } from "@proof-of-compute/proto/kinds/matmul";
import { expect, test } from "vitest";
import { DaemonError } from "../../errors.ts";
import { threadRate } from "./rate.ts";

const compute = async (work: Work<MatmulSpec>) => computeProduct(productOf(work))!;

test("a thread's rate is measured with real products", async () => {
  let products = 0;
  const rate = await threadRate((work) => {
    products++;
    return compute(work);
  }, 0);
  expect(products).toBe(3);
  expect(rate).toBeGreaterThan(0);
});

test("a machine that computes wrong products has no rate", async () => {
  const spoilt = async (work: Work<MatmulSpec>) => {
    const output = await compute(work);
    output[77] = (output[77]! + 1) % 251;
    return output;
  };
  await expect(threadRate(spoilt, 0)).rejects.toThrow(DaemonError);
});
