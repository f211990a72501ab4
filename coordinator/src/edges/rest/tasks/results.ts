import { fromHex, type Hex } from "@proof-of-compute/proto";
import type { FastifyReply, FastifyRequest } from "fastify";
import { ComputeError } from "../../../domain/errors.ts";
import type { Receipt } from "../../../domain/receipt.ts";
import { type CoordinatorKinds, specOf } from "../../../kinds/index.ts";
import type { RestComponents } from "../components.ts";
import type { DownloadBudget } from "../limits/download-budget.ts";
import { UNKNOWN_RESULT_BYTES } from "../limits/limits.ts";

type Result = Pick<Receipt, "taskId" | "resultDigest">;
type Kept = Pick<RestComponents, "store" | "blobs">;

interface Sending {
  readonly components: Pick<RestComponents, "kinds" | "store" | "blobs">;
  readonly resultBudget: Pick<DownloadBudget, "open">;
}

/** Whether a receipt's result is public. Results of unknown kinds are not: only their requester may read them. */
export function isPublic({ kind }: Pick<Receipt, "kind">, kinds: CoordinatorKinds): boolean {
  return kinds.get(kind)?.resultsArePublic ?? false;
}

/** Whether the result's bytes are still stored, inline or as a blob. */
export async function isResultKept({ store, blobs }: Kept, { taskId, resultDigest }: Result): Promise<boolean> {
  return (await blobs.has(resultDigest)) || (await store.output(taskId)) !== null;
}

/**
 * Answers with a result's bytes, or 304 to a client that has them. Throws NO_RESULT when they were deleted, and RATE_LIMITED
 * when too many bytes are being sent.
 */
export async function sendResult(
  { components: { kinds, store, blobs }, resultBudget }: Sending,
  { taskId, resultDigest, kind, spec }: Result & Pick<Receipt, "kind" | "spec">,
  request: FastifyRequest,
  reply: FastifyReply,
): Promise<FastifyReply> {
  const etag = `"${resultDigest.slice(2)}"`;
  reply.header("etag", etag);
  if (request.headers["if-none-match"] === etag) return reply.code(304).send();
  const known = specOf({ kind, spec: fromHex(spec) }, kinds);
  const share = resultBudget.open(
    reply,
    known?.kind.protocol.bounds(known.spec).maxOutputBytes ?? UNKNOWN_RESULT_BYTES,
  );
  const output = (await store.output(taskId)) ?? (await blobs.get(resultDigest));
  if (!output) throw new ComputeError("NO_RESULT", "the result was deleted after RESULT_RETENTION; its receipt stays");
  share.shrink(output.length);
  return reply
    .header("content-digest", `sha-256=:${base64(resultDigest)}:`)
    .header("content-disposition", `attachment; filename="${taskId}.bin"`)
    .type("application/octet-stream")
    .send(Buffer.from(output.buffer, output.byteOffset, output.byteLength));
}

function base64(digest: Hex): string {
  return Buffer.from(digest.slice(2), "hex").toString("base64");
}
