import { type Kind, type KindRegistry, readTaskSpec } from "@proof-of-compute/proto/kinds";
import type { Task } from "../domain/task.ts";

/** A task's kind and what its spec asks of it. */
export interface KnownSpec<K> {
  readonly kind: K;
  /** As the kind's `parse` returned it. */
  readonly spec: unknown;
}

/**
 * Reads a stored task's spec. Undefined when this coordinator does not know the kind, a field of the spec, or a value in it:
 * a newer coordinator on the same store wrote it.
 */
export function specOf<K extends { readonly name: Kind["name"]; readonly protocol: Kind }>(
  task: Pick<Task, "kind" | "spec">,
  kinds: KindRegistry<K>,
): KnownSpec<K> | undefined {
  const kind = kinds.get(task.kind);
  if (!kind) return undefined;
  try {
    const read = readTaskSpec(task.spec, [kind.protocol]);
    return read.kind && { kind, spec: read.spec };
  } catch (error) {
    if (error instanceof TypeError || error instanceof RangeError) return undefined;
    throw error;
  }
}
