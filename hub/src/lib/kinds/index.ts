import type { Config, Task } from "#lib/api/client.ts";
import type { KindView } from "./kind.ts";
import { matmul } from "./matmul/kind.ts";

export type * from "./kind.ts";

/** Every kind that this hub knows: one line each. */
const KINDS: readonly KindView[] = [matmul];

/** A kind that can be requested: this hub knows it, and the coordinator offers it. */
export interface OfferedKind {
  readonly kind: KindView;
  /** What the coordinator publishes of it; only the kind's own form reads it. */
  readonly config: never;
}

function kindNamed(name: string): KindView | undefined {
  return KINDS.find((kind) => kind.name === name);
}

/** The kinds that can be requested, in the coordinator's order. */
export function offeredKinds({ kinds }: Config): OfferedKind[] {
  return kinds.flatMap((config) => {
    const kind = kindNamed(config.kind);
    return kind ? [{ kind, config: config as never }] : [];
  });
}

/**
 * The kind of a task. Undefined when its parameters cannot be shown: this hub does not know the kind, or the coordinator
 * does not, which then gives none.
 */
export function kindOf(task: Task): KindView | undefined {
  return task.kind in task ? kindNamed(task.kind) : undefined;
}

/** A task in a few words: of a kind that is not known, its name. */
export function summaryOf(task: Task): string {
  return kindOf(task)?.summary(task) ?? task.kind;
}
