import { type MatmulSpec, TaskSpec } from "@proof-of-compute/proto/task";
import { ComputeError } from "../../domain/errors.ts";

/** What a stored task's spec asks for. Throws INTERNAL for a kind that this coordinator never stored. */
export function matmulOf(spec: Uint8Array): MatmulSpec {
  const { kind } = TaskSpec.decode(spec);
  if (kind?.$case !== "matmul") throw new ComputeError("INTERNAL", "a task of a kind that has no check here");
  return kind.value;
}
