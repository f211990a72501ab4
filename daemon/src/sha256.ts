import { hash, webcrypto } from "node:crypto";

/** Larger content is hashed off the event loop, which it would block for milliseconds. */
const AT_ONCE_BYTES = 1024 * 1024;

/** SHA-256; small content is hashed within this turn. */
export async function sha256(content: Uint8Array): Promise<Uint8Array> {
  if (content.length <= AT_ONCE_BYTES) return hash("sha256", content, "buffer");
  return new Uint8Array(await webcrypto.subtle.digest("SHA-256", content as Uint8Array<ArrayBuffer>));
}
