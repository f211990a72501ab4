import type { Address, AssuranceName, Hex, TaskKindName } from "@proof-of-compute/proto";
import { ASSURANCES } from "@proof-of-compute/proto";
import { z } from "zod";

/**
 * What the schemas of several subjects share. The routes validate and serialize with schemas, and `docs/reference/openapi.json` and the
 * hub's typed client are generated from them, so there is no second description of the API.
 *
 * Times are milliseconds since 1970 on the coordinator's clock, units are decimal strings (they pass 2^53), identifiers
 * and digests are lower-case `0x` hex.
 */

export function hex(bytes: number, description: string): z.ZodType<Hex, Hex> {
  const digits = new RegExp(`^0x[0-9a-f]{${bytes * 2}}$`);
  // The pattern makes it Hex; zod has no way to say so to the compiler.
  return z.string().regex(digits).meta({ description }) as unknown as z.ZodType<Hex, Hex>;
}

export const time = (description: string) =>
  z
    .int()
    .nonnegative()
    .meta({ description: `${description} (ms since 1970, coordinator's clock)` });

export const units = (description: string) =>
  z
    .string()
    .regex(/^[0-9]+$/)
    .meta({ description: `${description} (compute units, decimal)` });

export const count = (description: string) => z.int().nonnegative().meta({ description });

export const address = z
  .string()
  .regex(/^0x[0-9a-fA-F]{40}$/)
  .meta({ description: "EVM address with EIP-55 casing" }) as unknown as z.ZodType<Address, Address>;

/** A wallet as people write it; `parseAddress` reads it, so that the error can say what is wrong with it. */
export const walletText = z
  .string()
  .min(1)
  .max(64)
  .meta({ description: "A wallet address, `0x…` or `xdc…`; its EIP-55 checksum is checked when it is mixed case" });

export const cursor = z
  .string()
  .max(512)
  .optional()
  .meta({ description: "The `cursor` of the page before; absent for the first page" });
export const limit = z.coerce
  .number()
  .int()
  .min(1)
  .max(100)
  .default(20)
  .meta({ description: "How many items at most" });

/** Query of a list. */
export const PageQuery = z.object({ limit, cursor });

export function page<T extends z.ZodType>(item: T) {
  return z.object({
    items: z.array(item),
    cursor: z.string().optional().meta({ description: "Asks for the next page; absent on the last" }),
  });
}

/** Not an enumeration: a newer coordinator on the same store may know more kinds. */
export const kindName = z.string().meta({ description: "Name of a kind of task" });

/** What is specific to a kind stands under the kind's name; its type is known to the kind only. */
export type KindMembers = { readonly [name in TaskKindName]?: unknown };

export const assurance = z
  .enum(Object.keys(ASSURANCES) as [AssuranceName])
  .meta({ description: "Why the result can be believed; see docs/reference/verification.md" });

/** RFC 9457 problem document: the body of every error. */
export const Problem = z
  .object({
    type: z.string().meta({ description: "Where the code is explained" }),
    title: z.string().meta({ description: "What the code means, the same for every occurrence" }),
    status: z.int(),
    detail: z.string().meta({ description: "What went wrong this time" }),
    code: z.string().meta({ description: "Stable, one of docs/reference/errors.md" }),
    instance: z.string().meta({ description: "The request's id, also in x-request-id and in the coordinator's log" }),
  })
  .meta({ id: "Problem", description: "An error (RFC 9457)" });

/** A response body of text that is not JSON. */
export const text = (contentType: string, description: string) => ({
  description,
  content: { [contentType]: { schema: z.any().meta({ type: "string", description }) } },
});

/** A response body of bytes. */
export const OctetStream = {
  description: "The result's bytes",
  content: { "application/octet-stream": { schema: z.any().meta({ type: "string", format: "binary" }) } },
};

export type Problem = z.output<typeof Problem>;
