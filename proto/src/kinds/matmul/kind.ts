import type { MatmulSpec } from "../../../gen/proofofcompute/node/v1/task.ts";
import type { Claim, Kind, Work } from "../kind.ts";
import { checkProduct, computeProduct } from "./kernel.ts";
import { checkMatmulSpec, FREIVALDS_ERROR_BITS, type MatmulTask, matmulSeed, matmulUnits } from "./matmul.ts";

export type { MatmulSpec };

/** The product that an assignment asks for. */
export function productOf(work: Work<MatmulSpec>): MatmulTask {
  const { n, k } = work.spec;
  return { seed: matmulSeed(work), n, k };
}

/** Products of at most this size take milliseconds. */
const TINY_UNITS = 64n;

/** Products of derived matrices over F_251, proven by Freivalds' check. */
export const matmul: Kind<MatmulSpec> = {
  name: "matmul",
  specCase: "matmul",
  parse(member) {
    const { n, k } = member as MatmulSpec;
    checkMatmulSpec(n, k);
    return { n, k };
  },
  bounds: ({ n, k }) => ({ maxOutputBytes: n * n, maxUnits: matmulUnits(n, k), unitsAreExact: true }),
  isTiny: ({ n, k }) => matmulUnits(n, k) <= TINY_UNITS,
  units({ n, k }, output) {
    if (output.length !== n * n) throw new RangeError(`the output has ${n * n} bytes, not ${output.length}`);
    return matmulUnits(n, k);
  },
  assurance: "proven",
  canFail: false,
  // The matrices depend on the assignment.
  deterministic: false,
  title: ({ n, k }) => `product of ${k} matrices of ${n} x ${n} over F_251`,
  links: [
    {
      name: "product",
      about: "The result is the product that the task asks for (Freivalds' check).",
      check(claim: Claim<MatmulSpec>, report) {
        return checkProduct(productOf(claim), claim.output, claim.outputDigest, report)
          ? {
              holds: true,
              detail: `Freivalds' check passed: a wrong product does with probability at most 2^-${FREIVALDS_ERROR_BITS}`,
            }
          : { holds: false, detail: "the result is not the product of its matrices" };
      },
    },
  ],
  recompute: (work, report) => (report ? computeProduct(productOf(work), report) : computeProduct(productOf(work))),
};
