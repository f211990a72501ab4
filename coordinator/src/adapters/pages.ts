import type { Hex } from "@proof-of-compute/proto";
import { ComputeError } from "../domain/errors.ts";
import type { Page } from "../ports/pages.ts";

/** Whether a position in a list, or part of it, is an id. */
export function isId(value: unknown): value is Hex {
  return typeof value === "string" && /^0x(?:[0-9a-f]{2})+$/.test(value);
}

/** Reads a cursor of {@link toPage}; throws INVALID_REQUEST for anything else. */
export function readCursor<T>(cursor: string, isPosition: (value: unknown) => value is T): T {
  let cause: unknown;
  try {
    const position: unknown = JSON.parse(Buffer.from(cursor, "base64url").toString());
    if (isPosition(position)) return position;
  } catch (error) {
    cause = error;
  }
  throw new ComputeError("INVALID_REQUEST", "cursor: not one that this list gave", { cause });
}

/** Makes a page of `limit` rows from a query for one row more, which shows whether there is a next page. */
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
