import type { Hex } from "@proof-of-compute/proto";
import { z } from "zod";
import { ComputeError } from "../../domain/errors.ts";
import type { Page } from "../../ports/store.ts";

/** Hex as the blob that SQLite keeps. */
export function toBlob(hex: Hex): Uint8Array {
  const bytes = Buffer.from(hex.slice(2), "hex");
  if (bytes.length * 2 + 2 !== hex.length) throw new TypeError("not a 0x hex string of whole bytes");
  return bytes;
}

/** A blob of SQLite as hex. */
export function fromBlob(blob: Uint8Array): Hex {
  return `0x${Buffer.from(blob.buffer, blob.byteOffset, blob.byteLength).toString("hex")}`;
}

/** The part of a cursor that is an id. */
export const IdPosition = z
  .string()
  .regex(/^0x(?:[0-9a-f]{2})+$/)
  .transform((text) => text as Hex);

/** Reads a cursor that {@link toPage} made; throws INVALID_REQUEST for anything else. */
export function readCursor<T>(cursor: string, schema: z.ZodType<T>): T {
  try {
    return schema.parse(JSON.parse(Buffer.from(cursor, "base64url").toString()));
  } catch (cause) {
    throw new ComputeError("INVALID_REQUEST", "cursor: not one that this list gave", { cause });
  }
}

/** Makes a page of at most `limit` rows from a query that asked for one more, which says whether there is a next page. */
export function toPage<Row, Item>(
  rows: readonly Row[],
  limit: number,
  toItem: (row: Row) => Item,
  positionOf: (row: Row) => unknown,
): Page<Item> {
  const shown = rows.slice(0, limit);
  const items = shown.map(toItem);
  const last = shown.at(-1);
  if (rows.length <= limit || last === undefined) return { items };
  return { items, cursor: Buffer.from(JSON.stringify(positionOf(last))).toString("base64url") };
}
