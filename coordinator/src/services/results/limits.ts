/** Largest output, in bytes, that travels in its Result and is kept in the store; a larger one comes in chunks and becomes a blob. */
export const INLINE_OUTPUT_BYTES = 65_536;

/** Results in one frame. */
export const MAX_RESULTS = 256;

/** Results of one node that are judged at once; more wait in its stream. */
export const MAX_JUDGING = 256;

/** Milliseconds until a verdict that the store refused is written again. */
export const STORE_RETRY_MS = 500;

/** Bytes of one chunk of an output. */
export const MAX_CHUNK_BYTES = 65_536;

/** Bytes of the outputs that a node may upload ahead of their results. A single output may be larger. */
export const MAX_UPLOADING_BYTES = 2 * 4_096 ** 2;

/** Memory for chunks of waiting uploads, as a share of the memory for uploads. */
export const WAITING_SHARE = 1 / 8;

/** The slowest average that an upload may have once it takes longer than `afterMs`: 256 kbit/s. */
export const SLOWEST_UPLOAD = { bytesPerSecond: 32_768, afterMs: 60_000 } as const;
