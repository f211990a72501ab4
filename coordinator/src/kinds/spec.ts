import { equal } from "@proof-of-compute/proto";
import type { Kind, KindRegistry } from "@proof-of-compute/proto/kinds";
import { TaskSpec } from "@proof-of-compute/proto/task";
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
  const decoded = TaskSpec.decode(task.spec);
  if (decoded.kind?.$case !== kind.protocol.specCase) return undefined;
  // The decoder drops unknown fields; with one of them the same bytes may ask for something else.
  if (!equal(TaskSpec.encode(decoded).finish(), task.spec)) return undefined;
  try {
    return { kind, spec: kind.protocol.parse(decoded.kind.value) };
  } catch (error) {
    if (error instanceof RangeError) return undefined;
    throw error;
  }
}
