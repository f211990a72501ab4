/** Missed heartbeats after which a node is suspect. */
export const SUSPECT_AFTER = 2.5;

/** Pause after the first wrong result or failure, doubled by each that follows in a row, and the longest one, in milliseconds. */
export const PAUSE_MS = { first: 2_000, longest: 300_000 } as const;

/** Random nodes that a search looks at before it looks at all of them. */
export const PROBES = 6;

/** Node records read at once. */
export const NODE_PAGE = 500;
