/** Bytes of a task's seed. */
export const SEED_BYTES = 32;

/** One execution's place in memory that main thread and workers share: offsets of its Int32 fields. */
export const CELL = {
  /** The main thread sets this to 1 to stop it. */
  cancelled: 0,
  /** The workers add what they have done, in parts of `scale`. */
  progress: 1,
  size: 2,
  scale: 10_000,
} as const;

/** A worker's `workerData`. */
export interface SharedCells {
  readonly cells: SharedArrayBuffer;
}

/** Numbers of one task in {@link Group.shapes}: offset of its cell, n, k, first row, and the row after the last. */
export const SHAPE_SIZE = 5;

/** Tasks that travel in one message, because a message costs as much as a tiny task. Packed, because objects cost too. */
export interface Group {
  readonly seeds: Uint8Array;
  readonly shapes: Int32Array;
}

/** Their outputs one after the other; a cancelled task has none. */
export interface GroupOutput {
  readonly outputs: Uint8Array;
  /** SHA-256 of each, 32 bytes a task of the group; zeros where only some rows were computed. */
  readonly digests: Uint8Array;
  /** Whether each ran to its end. */
  readonly finished: readonly boolean[];
}
