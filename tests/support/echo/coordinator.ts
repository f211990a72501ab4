import type { CoordinatorKind } from "@proof-of-compute/coordinator/kinds/kind";
import { equal, fromHex, type Hex, sha256, toHex } from "@proof-of-compute/proto";
import type { EchoSpec } from "@proof-of-compute/proto/task";
import { z } from "zod";
import { INPUT_BYTES, echo as protocol } from "./protocol.ts";

const { min, max } = INPUT_BYTES;

const input = z
  .string()
  .regex(new RegExp(`^0x(?:[0-9a-f]{2}){${min},${max}}$`))
  .meta({ description: `${min} to ${max} bytes` }) as unknown as z.ZodType<Hex, Hex>;

const parameters = z.strictObject({ input });

/** Echoes as the coordinator sees them; the check needs no worker thread. */
export const echo: CoordinatorKind<EchoSpec, { readonly input: Hex }> = {
  name: protocol.name,
  protocol,
  parameters,
  view: parameters,
  limits: { schema: z.object({ bytes: z.object({ min: z.int(), max: z.int() }) }), value: { bytes: { min, max } } },
  presets: [{ name: "hello", parameters: { input: "0x68656c6c6f" }, isDefault: true }],
  resultsArePublic: true,
  toSpec: ({ input }) => ({ input: fromHex(input) }),
  toView: ({ input }) => ({ input: toHex(input) }),
  createChecker: () => ({
    async judge({ spec, output, outputDigest }) {
      if (!equal(sha256(output), outputDigest)) return { outcome: "rejected", reason: "DIGEST_MISMATCH" };
      if (!equal(output, spec.input)) return { outcome: "rejected", reason: "WRONG_ECHO" };
      return { outcome: "accepted", units: protocol.units(spec, output) };
    },
  }),
};

/** The body of a request for an echo. */
export function echoRequest(text = "hello") {
  return { kind: "echo", echo: { input: toHex(Buffer.from(text)) } } as const;
}
