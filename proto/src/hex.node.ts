import type { Hex } from "./bytes.ts";

/** Writes bytes as {@link Hex}. Natively: adding digit to digit makes a hundred small strings of one signature. */
export function toHex(bytes: Uint8Array): Hex {
  return `0x${Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("hex")}`;
}
