import { hash } from "node:crypto";
import type { Hex } from "@proof-of-compute/proto";
import { ComputeError } from "../domain/errors.ts";

/** The SHA-256 under which a blob is stored. */
export function digestOf(bytes: Uint8Array): Hex {
  return `0x${hash("sha256", bytes, "hex")}`;
}

/** Throws INVALID_REQUEST for anything but a SHA-256 as lowercase hex. */
export function checkDigest(sha256: Hex): void {
  if (!/^0x[0-9a-f]{64}$/.test(sha256)) throw new ComputeError("INVALID_REQUEST", "not a SHA-256 digest");
}
