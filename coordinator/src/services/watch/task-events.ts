import type { Hex } from "@proof-of-compute/proto";

/** Called when something that shows of a task may have changed; carries no state, the listener reads it. */
export type TaskListener = () => void;

/**
 * Tells whoever watches a task that it may have changed. Only a signal: what is true is in the store, so a lost or a
 * doubled signal does no harm.
 */
export class TaskEvents {
  readonly #listeners = new Map<Hex, Set<TaskListener>>();

  /** The task changed: its document, its progress or why it waits. */
  publish(taskId: Hex): void {
    for (const listener of this.#listeners.get(taskId) ?? []) listener();
  }

  /** Something changed that many tasks show, such as a batch that was recorded. */
  publishAll(): void {
    for (const listeners of this.#listeners.values()) for (const listener of listeners) listener();
  }

  /** Calls `listener`, which must not throw, on each change until the returned function is called. */
  subscribe(taskId: Hex, listener: TaskListener): () => void {
    const listeners = this.#listeners.get(taskId) ?? new Set();
    this.#listeners.set(taskId, listeners.add(listener));
    return () => {
      listeners.delete(listener);
      if (listeners.size === 0 && this.#listeners.get(taskId) === listeners) this.#listeners.delete(taskId);
    };
  }

  /** The tasks that somebody watches. */
  watched(): readonly Hex[] {
    return [...this.#listeners.keys()];
  }

  /** Number of watched tasks. */
  get size(): number {
    return this.#listeners.size;
  }
}
