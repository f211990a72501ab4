import { ed25519Equation } from "#ed25519";
import { toHex } from "./bytes.ts";

/** The order of the base point, RFC 8032, 5.1. */
const ORDER = 2n ** 252n + 27742317777372353535851937790883648493n;
const PRIME = 2n ** 255n - 19n;
const SIGN = 2n ** 255n;
const ORDER_8_Y = 2707385501144840649318225287225658788936804267575313519463743609750303402022n;

/**
 * The y of the eight points whose order divides 8: 1, -1, 0, and the two of order 8. Anybody can forge signatures of many
 * messages under such a key.
 */
const SMALL_ORDER_Y: ReadonlySet<bigint> = new Set([0n, 1n, PRIME - 1n, ORDER_8_Y, PRIME - ORDER_8_Y]);

function littleEndian(bytes: Uint8Array): bigint {
  return BigInt(toHex(bytes.toReversed()));
}

/**
 * Whether bytes can be a node's key: 32 bytes in the canonical encoding, and not of small order. Whether they are a point of
 * the curve shows only when a signature is checked.
 */
export function isSoundPublicKey(publicKey: Uint8Array): boolean {
  if (publicKey.length !== 32) return false;
  const encoded = littleEndian(publicKey);
  const y = encoded >= SIGN ? encoded - SIGN : encoded;
  return y < PRIME && !SMALL_ORDER_Y.has(y);
}

/**
 * Whether an ed25519 signature (RFC 8032) is valid under the strictest rules: sound keys only, S below the group's order, and
 * R exactly as computed, without clearing the cofactor. Node and browsers therefore agree on every input, and nobody can
 * derive another valid signature from one.
 */
export function verifySignature(publicKey: Uint8Array, message: Uint8Array, signature: Uint8Array): boolean {
  if (signature.length !== 64 || !isSoundPublicKey(publicKey)) return false;
  if (littleEndian(signature.subarray(32)) >= ORDER) return false;
  return ed25519Equation(publicKey, message, signature);
}
