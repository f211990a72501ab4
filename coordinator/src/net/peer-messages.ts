import { type Hex, toHex } from "@proof-of-compute/proto";
import { z } from "zod";

/** The messages between coordinators over HTTP. They are not part of the public API. */

/** Their paths, below a coordinator's address. */
export const PEER_PATHS = { nudge: "/internal/nudge", progress: "/internal/progress" } as const;

/** The most task ids in one message. An id takes 37 bytes, so a message stays below the facade's limit of 64 KiB. */
export const MAX_TASKS = 1_000;

// The pattern guarantees Hex; zod cannot tell the compiler.
const taskId = z.string().regex(/^0x[0-9a-f]{32}$/) as unknown as z.ZodType<Hex, Hex>;
const taskIds = z.array(taskId).max(MAX_TASKS);

/** A hint. Here and below, fields of a newer version are ignored. */
export const NudgeMessage = z.object({
  queue: z.literal(true).exactOptional(),
  tasks: taskIds.exactOptional(),
});

/** Asks for the progress of these tasks. */
export const ProgressQuestion = z.object({ taskIds });

/** Progress by task id, 0 to 1, of the tasks that run at the answering coordinator. */
export const ProgressAnswer = z.object({ progress: z.record(z.string(), z.number().min(0).max(1)) });

/** The bearer token that authenticates a coordinator to its peers. */
export function peerToken(secret: Uint8Array): string {
  return toHex(secret).slice(2);
}
