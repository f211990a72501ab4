import type { KindView } from "../kind.ts";
import Details from "./Details.svelte";
import Form from "./Form.svelte";
import { checkOf, matrices } from "./words.ts";

/** Products of random matrices, proven by Freivalds’ check. */
export const matmul: KindView = {
  name: "matmul",
  label: "Matrix product",
  about:
    "A product of random matrices over a prime field: real work that anybody can check. " +
    "One unit is the product of two 64 × 64 matrices.",
  Form,
  Details,
  steps: {
    running: "The node multiplies the matrices.",
    verified: "The coordinator checks the whole product.",
  },
  summary: ({ matmul }) => `Product of ${matrices(matmul!)}`,
  check: checkOf,
};
