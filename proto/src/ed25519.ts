import { ed25519Equation } from "#ed25519";
import { toHex } from "./bytes.ts";

/** The order of the base point, RFC 8032, 5.1. */
const ORDER = 2n ** 252n + 27742317777372353535851937790883648493n;
const PRIME = 2n ** 255n - 19n;
const SIGN = 2n ** 255n;
const ORDER_8_Y = 2707385501144840649318225287225658788936804267575313519463743609750303402022n;

/**
 * The y of the eight points whose order divides 8: 1, -1, 0, and the two of order 8. Under such a key anybody finds
 * signatures that hold for many messages.
 */
const SMALL_ORDER_Y: ReadonlySet<bigint> = new Set([0n, 1n, PRIME - 1n, ORDER_8_Y, PRIME - ORDER_8_Y]);

function littleEndian(bytes: Uint8Array): bigint {
  return BigInt(toHex(bytes.toReversed()));
}

/**
 * Whether 32 bytes may be a node's key: written in the one canonical way, and not of small order. That they are a point of
 * the curve shows with the first signature.
 */
export function isSoundPublicKey(publicKey: Uint8Array): boolean {
  if (publicKey.length !== 32) return false;
  const encoded = littleEndian(publicKey);
  const y = encoded >= SIGN ? encoded - SIGN : encoded;
  return y < PRIME && !SMALL_ORDER_Y.has(y);
}

/**
 * Whether an ed25519 signature (RFC 8032) holds, by the strictest reading: sound keys only, S below the group's order, and
 * R exactly as computed, without clearing the cofactor. Node and browsers therefore agree on every input, and nobody can
 * turn a signature into another one.
 */
export function verifySignature(publicKey: Uint8Array, message: Uint8Array, signature: Uint8Array): boolean {
  if (signature.length !== 64 || !isSoundPublicKey(publicKey)) return false;
  if (littleEndian(signature.subarray(32)) >= ORDER) return false;
  return ed25519Equation(publicKey, message, signature);
}
