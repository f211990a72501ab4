import { ctr } from "@noble/ciphers/aes.js";
import { ed25519 } from "@noble/curves/ed25519.js";
import { sha256 as algorithm, sha512 } from "@noble/hashes/sha2.js";
import { keccak_256 } from "@noble/hashes/sha3.js";

const BLOCK = 16;
/** SHA-256 over the parts, joined. */
export function sha256(...parts: Uint8Array[]): Uint8Array {
  if (parts.length === 1) return algorithm(parts[0]!);
  const hash = algorithm.create();
  for (const part of parts) hash.update(part);
  return hash.digest();
}

/**
 * Opens the AES-128-CTR keystream of a 16-byte key from a zero counter block: each call of the result gives the next
 * bytes of it. `length` must be a multiple of 16, and the bytes are valid until the next call.
 */
export function openKeystream(key: Uint8Array): (length: number) => Uint8Array {
  const counter = new Uint8Array(BLOCK);
  let block = 0;
  return (length) => {
    new DataView(counter.buffer).setBigUint64(8, BigInt(block));
    block += length / BLOCK;
    return ctr(key, counter).encrypt(new Uint8Array(length));
  };
}

/** The first `length` bytes of the AES-128-CTR keystream of a 16-byte key from a zero counter block. */
export function keystream(key: Uint8Array, length: number): Uint8Array {
  return openKeystream(key)(length);
}

/** Keccak-256 as Ethereum has it. */
export function keccak256(bytes: Uint8Array): Uint8Array {
  return keccak_256(bytes);
}

function littleEndian(bytes: Uint8Array): bigint {
  return bytes.reduceRight((value, byte) => (value << 8n) | BigInt(byte), 0n);
}

/**
 * Whether the curve equation of RFC 8032 holds: encode(S B - k A) = R. The caller has checked lengths and ranges. Written
 * out because the library's own `verify` clears the cofactor, which OpenSSL's does not.
 */
export function ed25519Equation(publicKey: Uint8Array, message: Uint8Array, signature: Uint8Array): boolean {
  // Here and not above, so that a page that checks no signature is built without the curve.
  const { Point } = ed25519;
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
    // The key is no point of the curve.
    return false;
  }
}
