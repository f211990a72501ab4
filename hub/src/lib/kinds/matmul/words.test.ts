import { expect, it } from "vitest";
import type { Task } from "#lib/api/client.ts";
import { checkOf, matrices, presetLabel } from "./words.ts";

const taskWith = (check?: { method: "freivalds"; errorBound: "2^-112" }) =>
  ({ kind: "matmul", matmul: { n: 1024, k: 5, ...(check && { check }) } }) as Task;

it.each([
  [matrices({ n: 4096, k: 17 }), "17 matrices, 4096 × 4096"],
  [presetLabel("small"), "Small"],
  [presetLabel("showcase"), "Medium"],
  [
    checkOf(taskWith({ method: "freivalds", errorBound: "2^-112" })),
    "Checked with Freivalds’ algorithm: a wrong product passes with probability at most 2⁻¹¹².",
  ],
  [checkOf(taskWith()), "Checked with Freivalds’ algorithm."],
])("%s", (written, expected) => {
  expect(written).toBe(expected);
});
