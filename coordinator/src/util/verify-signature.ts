import { type KeyObject, verify } from "node:crypto";

/** Bytes of an ed25519 signature. */
const SIGNATURE_BYTES = 64;

/** Whether an ed25519 signature holds. Runs in the thread pool, so that it does not block the event loop. */
export function verifySignature(message: Uint8Array, key: KeyObject, signature: Uint8Array): Promise<boolean> {
  if (signature.length !== SIGNATURE_BYTES) return Promise.resolve(false);
  return new Promise((resolve, reject) => {
    verify(null, message, key, signature, (error, valid) => (error ? reject(error) : resolve(valid)));
  });
}
