/** Limits of the facade. */
export interface RestLimits {
  /** Requests below /api and /internal per minute from one address. */
  readonly requestsPerMinute: number;
  /** Sign-in attempts per minute from one address; each costs milliseconds of elliptic-curve arithmetic. */
  readonly signInsPerMinute: number;
  /** Tasks per minute from one wallet. */
  readonly dispatchesPerMinute: number;
  /** Public results, exports and batches' receipts per minute from one address, of each. */
  readonly downloadsPerMinute: number;
  /** Bytes of results that are being sent at once, in total and to one address. */
  readonly resultBytes: number;
  readonly resultBytesPerAddress: number;
  /** Exports and batches' receipts that are being written at once, in total and for one address. */
  readonly exports: number;
  readonly exportsPerAddress: number;
  /** Longest body in bytes. */
  readonly bodyBytes: number;
  /** Longest request line and headers in bytes. */
  readonly headerBytes: number;
  /** Milliseconds that a client may take to send its request. */
  readonly requestTimeoutMs: number;
  /** Milliseconds without traffic after which a connection is closed; a reader has twice as long. */
  readonly connectionTimeoutMs: number;
  /** Event streams open at once, in total and for one wallet. */
  readonly streams: number;
  readonly streamsPerWallet: number;
}

/** The limits where the configuration sets none: room for an eager person, none for a flood. */
export const REST_LIMITS: RestLimits = {
  requestsPerMinute: 1200,
  signInsPerMinute: 60,
  dispatchesPerMinute: 240,
  downloadsPerMinute: 120,
  resultBytes: 256 * 2 ** 20,
  resultBytesPerAddress: 64 * 2 ** 20,
  exports: 16,
  exportsPerAddress: 4,
  bodyBytes: 64 * 1024,
  headerBytes: 16 * 1024,
  requestTimeoutMs: 15_000,
  connectionTimeoutMs: 60_000,
  streams: 2000,
  streamsPerWallet: 16,
};

/** Bytes reserved for a result of an unknown kind until its size is known: the largest output of the known kinds. */
export const UNKNOWN_RESULT_BYTES = 16 * 2 ** 20;
