import { ctr } from "@noble/ciphers/aes.js";
import { sha256 as algorithm } from "@noble/hashes/sha2.js";
import { keccak_256 } from "@noble/hashes/sha3.js";

const BLOCK = 16;

/** SHA-256 of the concatenated parts. */
export function sha256(...parts: Uint8Array[]): Uint8Array {
  if (parts.length === 1) return algorithm(parts[0]!);
  const hash = algorithm.create();
  for (const part of parts) hash.update(part);
  return hash.digest();
}

/**
 * Opens the AES-128-CTR keystream of a 16-byte key, with a counter from zero, at `offset` bytes. Each call of the result
 * returns the next `length` bytes, which are valid until the next call. `offset` and `length` are multiples of 16.
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

/** The first `length` bytes of the AES-128-CTR keystream of a 16-byte key, with a counter from zero. */
export function keystream(key: Uint8Array, length: number): Uint8Array {
  return openKeystream(key)(length);
}

/** Keccak-256 as in Ethereum. */
export function keccak256(bytes: Uint8Array): Uint8Array {
  return keccak_256(bytes);
}
