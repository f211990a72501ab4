import type { Hex } from "@proof-of-compute/proto";

/**
 * A blob that nobody put for this long has the receipts that it will ever have, in milliseconds. The receipt is written
 * seconds after the blob was put; a coordinator that takes longer puts the blob again.
 */
export const YOUNG_BLOB_MS = 3_600_000;

/** A stored blob, as {@link Blobs.find} and {@link Blobs.list} saw it. */
export interface StoredBlob {
  readonly sha256: Hex;
  /** Names the last put: putting the blob again changes it. */
  readonly putId: string;
  /**
   * Milliseconds since the last put, by the clock of the storage. Absent when an earlier version put the blob, which
   * noted no time.
   */
  readonly ageMs?: number;
}

/**
 * Results that are too large for the store, each under its SHA-256; equal results are one blob. Retention deletes every
 * old blob here that no receipt refers to, so blobs of any other purpose need a folder or collection of their own, out of
 * reach of coordinators of this version (docs/adr/blob-references.md).
 */
export interface Blobs {
  /** Stores bytes under their SHA-256, durable when resolved. Putting the same bytes again only renews the blob's age. */
  put(sha256: Hex, bytes: Uint8Array): Promise<void>;
  /** The bytes, checked against their digest, or null. */
  get(sha256: Hex): Promise<Uint8Array | null>;
  /** Whether there is such a blob; its bytes are not read. */
  has(sha256: Hex): Promise<boolean>;
  /** Those of the blobs that are stored, in no order; a blob may be stored, and listed, more than once. */
  find(sha256s: readonly Hex[]): Promise<StoredBlob[]>;
  /** The first `limit` blobs by digest, after `after`. Notes the present time for blobs without an age. */
  list(query: { readonly after?: Hex; readonly limit: number }): Promise<StoredBlob[]>;
  /** Deletes a blob; false, and nothing deleted, when it was put again since it was found, or is deleted already. */
  delete(blob: Pick<StoredBlob, "sha256" | "putId">): Promise<boolean>;
}
