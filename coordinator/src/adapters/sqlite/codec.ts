import type { Hex } from "@proof-of-compute/proto";
import type { Owner } from "../../domain/owner.ts";

/** Hex as a SQLite blob. */
export function toBlob(hex: Hex): Uint8Array {
  const bytes = Buffer.from(hex.slice(2), "hex");
  if (bytes.length * 2 + 2 !== hex.length) throw new TypeError("not a 0x hex string of whole bytes");
  return bytes;
}

/** A SQLite blob as hex. */
export function fromBlob(blob: Uint8Array): Hex {
  return `0x${Buffer.from(blob.buffer, blob.byteOffset, blob.byteLength).toString("hex")}`;
}

/** The owner of an `ownerKey`. */
export function ownerFrom(key: string): Owner {
  const end = key.indexOf(" ");
  return { coordinatorId: key.slice(end + 1), incarnation: key.slice(0, end) as Hex };
}
