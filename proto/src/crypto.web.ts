import { ctr } from "@noble/ciphers/aes.js";
import { sha256 as algorithm } from "@noble/hashes/sha2.js";
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
 * Opens the AES-128-CTR keystream of a 16-byte key from a zero counter block, at `offset` bytes: each call of the result
 * gives the next bytes of it. `offset` and `length` must be multiples of 16, and the bytes are valid until the next call.
 */
export function openKeystream(key: Uint8Array, offset = 0): (length: number) => Uint8Array {
  const counter = new Uint8Array(BLOCK);
  let block = offset / BLOCK;
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
