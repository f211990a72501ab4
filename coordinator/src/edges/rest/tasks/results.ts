import { fromHex, type Hex } from "@proof-of-compute/proto";
import type { FastifyReply, FastifyRequest } from "fastify";
import { ComputeError } from "../../../domain/errors.ts";
import type { Receipt } from "../../../domain/receipt.ts";
import { matmulOf } from "../../../services/dispatch/matmul-spec.ts";
import type { RestComponents } from "../components.ts";
import type { RestContext } from "../context.ts";

type Result = Pick<Receipt, "taskId" | "resultDigest">;
type Kept = Pick<RestComponents, "store" | "blobs">;

/** Whether anybody may have a receipt's result: what proven work computes follows from public facts and is no secret. */
export function isPublic({ assurance }: Pick<Receipt, "assurance">): boolean {
  return assurance === "proven";
}

/** Whether the result's bytes are still there; small ones are in the store, the others blobs. */
export async function isResultKept({ store, blobs }: Kept, { taskId, resultDigest }: Result): Promise<boolean> {
  return (await blobs.has(resultDigest)) || (await store.output(taskId)) !== null;
}

/**
 * Answers with a result's bytes, or 304 to who has them. Throws NO_RESULT when they are kept no longer, and RATE_LIMITED
 * when too many bytes are being sent.
 */
export async function sendResult(
  { components: { store, blobs }, resultBudget }: Pick<RestContext, "components" | "resultBudget">,
  { taskId, resultDigest, spec }: Result & Pick<Receipt, "spec">,
  request: FastifyRequest,
  reply: FastifyReply,
): Promise<FastifyReply> {
  const etag = `"${resultDigest.slice(2)}"`;
  reply.header("etag", etag);
  if (request.headers["if-none-match"] === etag) return reply.code(304).send();
  const { n } = matmulOf(fromHex(spec));
  resultBudget.open(reply, n * n);
  const output = (await store.output(taskId)) ?? (await blobs.get(resultDigest));
  if (!output) throw new ComputeError("NO_RESULT", "the result is kept no longer; its receipt remains");
  return reply
    .header("content-digest", `sha-256=:${base64(resultDigest)}:`)
    .header("content-disposition", `attachment; filename="${taskId}.bin"`)
    .type("application/octet-stream")
    .send(Buffer.from(output.buffer, output.byteOffset, output.byteLength));
}

function base64(digest: Hex): string {
  return Buffer.from(digest.slice(2), "hex").toString("base64");
}
