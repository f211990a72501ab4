/** Longest pause after failures in a row, in milliseconds; each failure doubles the pause up to it. */
export const MAX_PAUSE_MS = 30_000;

/** Polls between looks at the chain while nothing waits; a receipt ends that pause at once. */
export const IDLE_POLLS = 10;

/** Age at which the recorder's role and balance are read again, in milliseconds; they are also read after each batch. */
export const IDENTIFY_MS = 60_000;

/** Batches that the recorder must be able to pay for; below it the log warns. */
export const LOW_BALANCE_BATCHES = 10n;

/** Failures in a row after which the leader lets another coordinator try: the RPC may be away from here alone. */
export const FAILURES_OF_A_LEADER = 5;

/** A batch that is not recorded after this many times `resendMs` is late. */
export const LATE_AFTER = 2;

/** Batches read at a time. */
export const BATCH_PAGE = 100;

/** Receipts read from the store, or copied to the tree worker, at a time: a few milliseconds of the event loop. */
export const RECEIPT_PAGE = 500;

/** Merkle trees kept for the next proof; one of 50,000 receipts takes about 20 MB. */
export const KEPT_TREES = 4;

/** Proofs that may wait for the worker; more are refused. */
export const MAX_WAITING_PROOFS = 64;

/** The tree worker ends, and its trees with it, after this many milliseconds without work. */
export const TREES_IDLE_MS = 60_000;
