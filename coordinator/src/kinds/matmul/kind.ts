import {
  FREIVALDS_ERROR_BITS,
  MATMUL_LIMITS,
  type MatmulSpec,
  matmul as protocol,
} from "@proof-of-compute/proto/kinds/matmul";
import { z } from "zod";
import type { CoordinatorKind } from "../kind.ts";
import { MatmulChecker } from "./check.ts";

const { nMin, nMax, nStep, kMin, kMax } = MATMUL_LIMITS;

/** Probability at most that a wrong result passes. */
const ERROR_BOUND = `2^-${FREIVALDS_ERROR_BITS}`;

const parameters = z
  .strictObject({
    n: z.int().min(nMin).max(nMax).multipleOf(nStep).meta({ description: "Rows and columns of the matrices" }),
    k: z.int().min(kMin).max(kMax).meta({ description: "Number of factors" }),
  })
  .meta({ id: "MatmulParameters", description: "The product of k matrices of n x n over F_251" });

const view = z
  .object({
    n: z.int().meta({ description: "Rows and columns" }),
    k: z.int().meta({ description: "Number of factors" }),
    check: z
      .object({
        method: z.literal("freivalds"),
        errorBound: z.literal(ERROR_BOUND).meta({ description: "Probability at most that a wrong result passes" }),
      })
      .optional()
      .meta({ description: "How the result was checked" }),
  })
  .meta({ id: "MatmulTask", description: "A product of k matrices of n x n over F_251" });

const limits = z.object({
  n: z.object({ min: z.int(), max: z.int(), step: z.int() }),
  k: z.object({ min: z.int(), max: z.int() }),
});

/** Products of matrices, proven by Freivalds' check. */
export const matmul: CoordinatorKind<MatmulSpec, z.output<typeof parameters>> = {
  name: protocol.name,
  protocol,
  parameters,
  view,
  limits: { schema: limits, value: { n: { min: nMin, max: nMax, step: nStep }, k: { min: kMin, max: kMax } } },
  presets: [
    { name: "small", parameters: { n: 256, k: 4 } },
    // Large enough to be felt, done within seconds on one core.
    { name: "showcase", parameters: { n: 1024, k: 5 }, isDefault: true },
    { name: "large", parameters: { n: 2048, k: 9 } },
    { name: "huge", parameters: { n: 4096, k: 17 } },
  ],
  // A product follows from public facts; it is no secret.
  resultsArePublic: true,
  toSpec: ({ n, k }) => ({ n, k }),
  toView: ({ n, k }, receipt) => ({
    n,
    k,
    ...(receipt && { check: { method: "freivalds", errorBound: ERROR_BOUND } }),
  }),
  createChecker: (pool) => new MatmulChecker(pool),
};
