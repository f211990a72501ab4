export { toHex } from "#hex";

/**
 * Bytes as text: lower-case hex with `0x`, in the domain, the stores, REST and the hub. Only addresses have EIP-55
 * casing.
 */
export type Hex = `0x${string}`;

/** Value of each hex digit by character code; 255 for every other character. */
const VALUES = new Uint8Array(128).fill(255);
for (let value = 0; value < 16; value++) {
  VALUES[value.toString(16).charCodeAt(0)] = value;
  VALUES[value.toString(16).toUpperCase().charCodeAt(0)] = value;
}

/** Decodes hex in either case. Throws a TypeError for anything else. */
export function fromHex(hex: string): Uint8Array {
  const bytes = new Uint8Array(Math.max(0, hex.length - 2) >> 1);
  let valid = hex.length % 2 === 0 && hex.startsWith("0x");
  for (let i = 0; i < bytes.length; i++) {
    const high = VALUES[hex.charCodeAt(2 + 2 * i)] ?? 255;
    const low = VALUES[hex.charCodeAt(3 + 2 * i)] ?? 255;
    valid &&= high < 16 && low < 16;
    bytes[i] = (high << 4) | low;
  }
  if (!valid) throw new TypeError("not a 0x hex string of whole bytes");
  return bytes;
}

/** Concatenates byte strings. */
export function concat(...parts: readonly Uint8Array[]): Uint8Array {
  const joined = new Uint8Array(parts.reduce((length, part) => length + part.length, 0));
  let offset = 0;
  for (const part of parts) {
    joined.set(part, offset);
    offset += part.length;
  }
  return joined;
}

/** Whether two byte strings are equal. Not constant-time: never for secrets. */
export function equal(a: Uint8Array, b: Uint8Array): boolean {
  if (a.length !== b.length) return false;
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
  return true;
}
