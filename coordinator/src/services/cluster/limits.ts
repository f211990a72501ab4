/** Beats of a coordinator in a lease time: one may be late or lost without consequence. */
export const BEATS_PER_LEASE = 6;

/** Milliseconds after which the record of a lost coordinator is removed. */
export const FORGET_MS = 3_600_000;

/** Orphaned tasks taken over at once. */
export const ORPHAN_PAGE = 256;
