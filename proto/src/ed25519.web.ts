import { ed25519 } from "@noble/curves/ed25519.js";
import { sha512 } from "@noble/hashes/sha2.js";

const { Point } = ed25519;

function littleEndian(bytes: Uint8Array): bigint {
  return bytes.reduceRight((value, byte) => (value << 8n) | BigInt(byte), 0n);
}

/**
 * Whether the curve equation of RFC 8032 holds: encode(S B - k A) = R. The caller has checked lengths and ranges. Written
 * out because the library's `verify` clears the cofactor and OpenSSL does not.
 */
export function ed25519Equation(publicKey: Uint8Array, message: Uint8Array, signature: Uint8Array): boolean {
  // Within the function, so that bundlers drop the curve from pages that check no signature.
  const r = signature.subarray(0, 32);
  const hash = sha512.create().update(r).update(publicKey).update(message).digest();
  const s = littleEndian(signature.subarray(32));
  const k = Point.Fn.create(littleEndian(hash));
  try {
    const negated = Point.fromBytes(publicKey).negate().multiplyUnsafe(k);
    return Point.BASE.multiplyUnsafe(s)
      .add(negated)
      .toBytes()
      .every((byte, at) => byte === r[at]);
  } catch {
    // The key is not a point of the curve.
    return false;
  }
}
