/** How long a stream may stay without its Hello, in milliseconds. */
export const HELLO_TIMEOUT_MS = 10_000;

/** Bytes of a Hello's terms. */
export const MAX_TERMS_BYTES = 131_072;

/** Slots that a node may offer. */
export const MAX_SLOTS = 1_024;

/** Assignments that a Hello or a Heartbeat may name. */
export const MAX_RUNNING = 4_096;

/** Characters of a failure's detail that are kept. */
export const MAX_DETAIL = 1_024;

/** Frames of one stream that may wait for their turn; more wait in the node. */
export const MAX_PENDING = 32;

/** Assignments or acks in one frame; far below the message limit. */
export const MAX_PLURAL = 256;

/** Assignments, acks and other frames that may wait for a node to read them: four times what it can run. */
export const MAX_UNREAD = 8_192;

/** Bytes of one piece of a fetched blob. */
export const BLOB_PIECE_BYTES = 65_536;

/** Fetches at once, each of at most the largest output: of one session, and in all 256 MiB. */
export const MAX_FETCHES = { session: 2, all: 16 } as const;

/** Longest that a fetch may take, in milliseconds: the largest output at 56 KiB a second. */
export const FETCH_TIMEOUT_MS = 300_000;

/** Longest that a stopping server waits for its streams to end, in milliseconds. */
export const CLOSE_TIMEOUT_MS = 2_000;
