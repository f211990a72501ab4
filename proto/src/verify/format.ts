import { z } from "zod";
import { sha256 } from "#crypto";
import { type Address, parseAddress } from "../address.ts";
import { type Hex, toHex } from "../bytes.ts";
import { ASSURANCES, type ReceiptLeaf, TASK_KINDS } from "../receipt.ts";
import { Unchecked } from "./outcome.ts";

// zod tries to generate code, which the hub's Content-Security-Policy refuses and reports.
if ("document" in globalThis) z.config({ jitless: true });

/** Version of the format below, the first member of every file. */
const RECEIPT_FORMAT = "proof-of-compute/receipt/v1";

/** Maximum length of a proof: batches and frames have at most 2^32 leaves. */
const MAX_DEPTH = 32;
const MAX_SPEC_BYTES = 4096;

function hex(bytes: number, description: string): z.ZodType<Hex, Hex> {
  // The pattern guarantees Hex, which zod cannot express as a type.
  return z
    .string()
    .regex(new RegExp(`^0x[0-9a-f]{${bytes * 2}}$`))
    .meta({ description }) as unknown as z.ZodType<Hex, Hex>;
}

function isAddress(text: string): boolean {
  try {
    return parseAddress(text) === text;
  } catch {
    return false;
  }
}

const address = (description: string) =>
  z
    .string()
    .regex(/^0x[0-9a-fA-F]{40}$/)
    .refine(isAddress, { error: "an EVM address with EIP-55 casing" })
    .meta({ description }) as unknown as z.ZodType<Address, Address>;

const units = z
  .string()
  .regex(/^[1-9][0-9]{0,28}$/)
  .refine((text) => BigInt(text) < 2n ** 96n, { error: "below 2^96" });

/** An absolute http(s) address in the form that browsers write. */
const url = z
  .string()
  .max(2048)
  .regex(/^https?:\/\/[\x21-\x7e]+$/)
  .refine((text) => URL.canParse(text) && new URL(text).href === text, { error: "an absolute URL in canonical form" });

/** A name with a number in the leaf. The list is open, because newer versions add names. */
const name = (description: string) =>
  z
    .string()
    .regex(/^[a-z][a-z0-9_]{0,31}$/)
    .meta({ description });

/** Names with their numbers, for people. */
const listed = (numbers: Readonly<Record<string, number>>) =>
  Object.entries(numbers)
    .map(([name, number]) => `${name} ${number}`)
    .join(", ");

const count = (description: string) => z.int().nonnegative().meta({ description });

/** The leaf's fields, by name. */
const leafShape = {
  receiptId: hex(16, "The assignment id"),
  taskId: hex(16, "Task id"),
  nodeId: hex(32, "ed25519 public key of the node"),
  provider: address("The wallet that is credited"),
  requester: address("The wallet that requested the task"),
  kind: name(`Kind of task; in the leaf ${listed(TASK_KINDS)}`),
  assurance: name(`Why the result can be believed; in the leaf ${listed(ASSURANCES)}`),
  specDigest: hex(32, "SHA-256 of the spec"),
  resultDigest: hex(32, "SHA-256 of the result"),
  units: units.meta({ description: "What is credited (compute units, decimal)" }),
  acceptedAt: count("When the result was accepted (ms since 1970, coordinator's clock)"),
};

const signature = z
  .strictObject({
    signature: hex(64, 'ed25519 over "proof-of-compute/results/v1" || root of the frame'),
    index: count("Position of the result in its frame"),
    size: z.int().positive().meta({ description: "Results in the frame" }),
    path: z.array(hex(32, "Sibling")).max(MAX_DEPTH).meta({ description: "RFC 6962 audit path, nearest first" }),
  })
  .meta({ description: "The node's signature of the frame, and the path from the result to it" });

const spec = z
  .string()
  .regex(/^0x(?:[0-9a-f]{2})+$/)
  .max(2 + 2 * MAX_SPEC_BYTES)
  .meta({ description: "The serialized TaskSpec" }) as unknown as z.ZodType<Hex, Hex>;

/**
 * A receipt with everything needed to check it, without its coordinator. A file has exactly one canonical form
 * ({@link writeReceipt}), so every changed byte shows.
 */
export const ReceiptFile = z
  .strictObject({
    format: z.literal(RECEIPT_FORMAT).meta({ description: "Version of this format" }),
    receipt: z.strictObject(leafShape).meta({ description: "What the leaf says" }),
    spec,
    signature,
    result: z
      .discriminatedUnion("available", [
        z.strictObject({
          available: z.literal(true),
          url: url.meta({ description: "Where the result is; only its digest makes it the right one" }),
        }),
        z.strictObject({ available: z.literal(false) }),
      ])
      .meta({
        description: "Whether the coordinator still keeps the result; if not, recompute it to check the work",
      }),
    leaf: hex(32, "Its leaf in the batch's tree: keccak256(keccak256(abi.encode(…)))"),
    chain: z
      .strictObject({ chainId: z.int().positive(), contract: address("The contract ProofOfCompute") })
      .optional()
      .meta({ description: "Where units are recorded; absent where no chain is configured" }),
    batch: z
      .strictObject({
        id: z.int().positive(),
        root: hex(32, "Root of the batch's tree"),
        proof: z.array(hex(32, "Sibling")).max(MAX_DEPTH).meta({ description: "Merkle proof for verifyReceipt" }),
        recorded: z
          .strictObject({
            transaction: hex(32, "Hash of the transaction that recorded it"),
            block: count("Number of that transaction's block"),
          })
          .optional()
          .meta({ description: "Present once the block is final and known" }),
      })
      .optional()
      .meta({ description: "The batch that carries it; absent until one does" }),
    checksum: hex(32, "SHA-256 of the rest of the file, against accidents; proves nothing"),
  })
  .meta({ id: "ReceiptFile", description: "A receipt with everything needed to check it" });
export type ReceiptFile = z.output<typeof ReceiptFile>;

/** A line of `GET /api/batches/:id/receipts`. */
export const BatchLine = z
  .strictObject({
    ...leafShape,
    batchId: z.int().positive().meta({ description: "The batch that carries it" }),
    signature,
    spec,
  })
  .meta({ id: "BatchLine", description: "A receipt in the list of its batch" });
export type BatchLine = z.output<typeof BatchLine>;

/** Both formats as JSON Schema, for other languages: docs/reference/receipt.schema.json. */
export function receiptSchema(): object {
  const { $schema, $defs } = z.toJSONSchema(z.object({ ReceiptFile, BatchLine }));
  return { $schema, title: RECEIPT_FORMAT, $ref: "#/$defs/ReceiptFile", $defs };
}

/** The text is not in the format. The message names the place. */
export class FormatError extends Error {
  override readonly name = "FormatError";
}

/** Parses text in a format with one canonical form. */
function readCanonical<T>(text: string, form: z.ZodType<T>): T {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw new FormatError("it is not JSON");
  }
  const parsed = form.safeParse(value);
  if (!parsed.success) {
    const [issue] = parsed.error.issues;
    throw new FormatError(`${issue!.path.join(".") || "the file"}: ${issue!.message}`);
  }
  // Catches white space, another order, duplicate members and other spellings.
  if (JSON.stringify(parsed.data) !== text) throw new FormatError("it is not written in the canonical form");
  return parsed.data;
}

function checksumOf(content: Omit<ReceiptFile, "checksum">): Hex {
  return toHex(sha256(new TextEncoder().encode(JSON.stringify(content))));
}

/** Whether the file's checksum matches its content. */
export function hasChecksum({ checksum, ...content }: ReceiptFile): boolean {
  return checksumOf(content) === checksum;
}

/** Serializes a receipt: one line, members in the schema's order, no spaces. Throws for content that does not fit the schema. */
export function writeReceipt(content: Omit<ReceiptFile, "format" | "checksum">): string {
  const ordered = ReceiptFile.omit({ checksum: true }).parse({ ...content, format: RECEIPT_FORMAT });
  return JSON.stringify({ ...ordered, checksum: checksumOf(ordered) });
}

/** Parses a receipt as {@link writeReceipt} writes it, with or without a line feed at the end. Throws {@link FormatError}. */
export function readReceipt(text: string): ReceiptFile {
  return readCanonical(text.endsWith("\n") ? text.slice(0, -1) : text, ReceiptFile);
}

/** Parses a line of a batch's list. Throws {@link FormatError}. */
export function readBatchLine(line: string): BatchLine {
  return readCanonical(line, BatchLine);
}

/** The fields of a receipt as its leaf has them. Throws when this version lacks the number of a name. */
export function leafFields(receipt: ReceiptFile["receipt"]): ReceiptLeaf {
  return {
    ...receipt,
    kind: numberOf(receipt.kind, TASK_KINDS, "kind"),
    assurance: numberOf(receipt.assurance, ASSURANCES, "assurance"),
    units: BigInt(receipt.units),
  };
}

function numberOf(name: string, numbers: Readonly<Record<string, number>>, what: string): number {
  const number = Object.hasOwn(numbers, name) ? numbers[name] : undefined;
  if (number === undefined) throw new Unchecked(`this version has no number for the ${what} ${name}`);
  return number;
}
