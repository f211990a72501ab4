import type { Hex } from "./bytes.ts";

/** Encodes bytes as {@link Hex}. Native, because appending digits allocates a hundred small strings for one signature. */
export function toHex(bytes: Uint8Array): Hex {
  return `0x${Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("hex")}`;
}
