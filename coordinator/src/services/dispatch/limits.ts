/** Queued tasks read, capacity filled, or overdue tasks ended at once. */
export const PAGE = 256;

/** Queued tasks that one round looks at when those in front fit no node. */
export const LOOK_AHEAD = 2_048;

/** Growth factor of the look-ahead window after each page without a match. */
export const STRIDE = 4;

/** Requesters whose tasks are read at once. */
export const MAX_TURN = 16;

/** Milliseconds between two reads of the queue while other coordinators add to it. */
export const QUEUE_POLL_MS = 1_000;

/** Milliseconds within which nudges by peers lead to one read of the queue. */
export const NUDGED_POLL_MS = 50;

/** Milliseconds between two looks for tasks that were cancelled at another coordinator. */
export const CANCELLED_POLL_MS = 1_000;

/** Milliseconds between two looks for overdue tasks. */
export const OVERDUE_POLL_MS = 1_000;

/** Nodes of other coordinators that reasons of waiting take into account, and how old that knowledge may be. */
export const REMOTE_NODES = { limit: 200, maxAgeMs: 5_000 } as const;

/** Back-off after a round that placed nothing, as a multiple of that round's duration. */
export const IDLE_FACTOR = 3;

/** Milliseconds until a write that the store refused is made again. */
export const STORE_RETRY_MS = 1_000;

/** Milliseconds until a task is tried again after its first failed attempt, doubled by each further one, and the longest. */
export const ATTEMPT_BACKOFF_MS = { first: 250, longest: 30_000 } as const;

/** Version conflicts on one task after which a write gives up. */
export const MAX_CONFLICTS = 5;

/** Cancels of unknown assignments that answer one heartbeat; the others answer later ones. */
export const MAX_CANCELS = 256;
