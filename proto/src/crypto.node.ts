import { createCipheriv, createHash, createSecretKey, hash } from "node:crypto";
import { WASM } from "../gen/kernel/keccak.ts";

const BLOCK = 16;
/** Plain text of zeros, whose encryption is the keystream itself; larger requests go through it in pieces. */
const ZEROS = new Uint8Array(1 << 20);

/** Up to here joining the parts costs less than a hash object does. */
const JOINED_BYTES = 1024;

/** SHA-256 over the parts, joined. */
export function sha256(...parts: Uint8Array[]): Uint8Array {
  if (parts.length === 1) return hash("sha256", parts[0]!, "buffer");
  if (parts.reduce((length, part) => length + part.length, 0) <= JOINED_BYTES) {
    return hash("sha256", Buffer.concat(parts), "buffer");
  }
  const hasher = createHash("sha256");
  for (const part of parts) hasher.update(part);
  return hasher.digest();
}

/**
 * Opens the AES-128-CTR keystream of a 16-byte key from a zero counter block, at `offset` bytes: each call of the result
 * gives the next bytes of it. `offset` and `length` must be multiples of 16, and the bytes are valid until the next call.
 */
export function openKeystream(key: Uint8Array, offset = 0): (length: number) => Uint8Array {
  const counter = new Uint8Array(BLOCK);
  new DataView(counter.buffer).setBigUint64(8, BigInt(offset / BLOCK));
  // A KeyObject makes the set-up three times cheaper than raw bytes, and small tasks consist of little else.
  const cipher = createCipheriv("aes-128-ctr", createSecretKey(key), counter);
  return (length) => {
    if (length <= ZEROS.length) return cipher.update(ZEROS.subarray(0, length));
    const stream = new Uint8Array(length);
    for (let offset = 0; offset < length; offset += ZEROS.length) {
      stream.set(cipher.update(ZEROS.subarray(0, Math.min(ZEROS.length, length - offset))), offset);
    }
    return stream;
  };
}

/** The first `length` bytes of the AES-128-CTR keystream of a 16-byte key from a zero counter block. */
export function keystream(key: Uint8Array, length: number): Uint8Array {
  return openKeystream(key)(length);
}

/** What kernel/keccak.ts exports; its own data ends below the first of these addresses. */
const keccak = new WebAssembly.Instance(new WebAssembly.Module(Buffer.from(WASM, "base64"))).exports as {
  readonly memory: WebAssembly.Memory;
  keccak256(input: number, length: number, output: number): void;
};
const DIGEST = 4096;
const INPUT = DIGEST + 32;
const keccakMemory = new Uint8Array(keccak.memory.buffer);

/** Keccak-256 as Ethereum has it. */
export function keccak256(bytes: Uint8Array): Uint8Array {
  // Addresses, leaves and nodes are hashed with it, never anything long.
  if (bytes.length > keccakMemory.length - INPUT) throw new RangeError("too long for this hash");
  keccakMemory.set(bytes, INPUT);
  keccak.keccak256(INPUT, bytes.length, DIGEST);
  return keccakMemory.slice(DIGEST, INPUT);
}
