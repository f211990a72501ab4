import type { Hex } from "@proof-of-compute/proto";

/** Content-addressed bytes that are too large for the store: outputs over the inline limit, later modules. */
export interface Blobs {
  /** Keeps bytes under their SHA-256, durable when resolved; keeping the same twice is harmless. */
  put(sha256: Hex, bytes: Uint8Array): Promise<void>;
  /** The bytes, checked against their digest, or null. */
  get(sha256: Hex): Promise<Uint8Array | null>;
  /** Whether there is such a blob; its bytes are not looked at. */
  has(sha256: Hex): Promise<boolean>;
  /** Forgets a blob; one that is not there is forgotten already. */
  delete(sha256: Hex): Promise<void>;
}
