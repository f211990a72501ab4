import { createCipheriv, createHash, createSecretKey, hash } from "node:crypto";
import { WASM } from "../gen/kernel/keccak.ts";

const BLOCK = 16;
/** Zeros, whose encryption is the keystream. Larger requests encrypt them in pieces. */
const ZEROS = new Uint8Array(1 << 20);

/** Up to this size, joining the parts costs less than a hash object. */
const JOINED_BYTES = 1024;

/** SHA-256 of the concatenated parts. */
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
 * Opens the AES-128-CTR keystream of a 16-byte key, with a counter from zero, at `offset` bytes. Each call of the result
 * returns the next `length` bytes, which are valid until the next call. `offset` and `length` are multiples of 16.
 */
export function openKeystream(key: Uint8Array, offset = 0): (length: number) => Uint8Array {
  const counter = new Uint8Array(BLOCK);
  new DataView(counter.buffer).setBigUint64(8, BigInt(offset / BLOCK));
  // A KeyObject makes the set-up three times cheaper than raw bytes do, and small tasks are mostly set-up.
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

/** The first `length` bytes of the AES-128-CTR keystream of a 16-byte key, with a counter from zero. */
export function keystream(key: Uint8Array, length: number): Uint8Array {
  return openKeystream(key)(length);
}

/** The exports of kernel/keccak.ts, whose own data ends below the first of these addresses. */
const keccak = new WebAssembly.Instance(new WebAssembly.Module(Buffer.from(WASM, "base64"))).exports as {
  readonly memory: WebAssembly.Memory;
  keccak256(input: number, length: number, output: number): void;
};
const DIGEST = 4096;
const INPUT = DIGEST + 32;
const keccakMemory = new Uint8Array(keccak.memory.buffer);

/** Keccak-256 as in Ethereum. */
export function keccak256(bytes: Uint8Array): Uint8Array {
  // Only addresses, leaves and tree nodes are hashed, all of them short.
  if (bytes.length > keccakMemory.length - INPUT) throw new RangeError("the input is too long for this implementation");
  keccakMemory.set(bytes, INPUT);
  keccak.keccak256(INPUT, bytes.length, DIGEST);
  return keccakMemory.slice(DIGEST, INPUT);
}
