import { hash, webcrypto } from "node:crypto";

/** More than this is hashed off the event loop, which sessions live on: some 3 ms of work. */
const AT_ONCE_BYTES = 1024 * 1024;

/** SHA-256, of small content within this turn. */
export async function sha256(content: Uint8Array): Promise<Uint8Array> {
  if (content.length <= AT_ONCE_BYTES) return hash("sha256", content, "buffer");
  return new Uint8Array(await webcrypto.subtle.digest("SHA-256", content as Uint8Array<ArrayBuffer>));
}
