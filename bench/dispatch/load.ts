/** The load of the dispatch bench, the same for every contender. */
export const NODES = 64;
export const SLOTS = 16;
/** The smallest matmul: what is measured is the dispatch, not the arithmetic. */
export const TASK = { n: 64, k: 2 } as const;
/** Bytes of an Assignment frame and of a Results frame with one such task, as they go over the wire. */
export const REQUEST_BYTES = 180;
export const RESPONSE_BYTES = 4_096 + 190;
