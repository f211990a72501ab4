import { type Hex, toHex } from "@proof-of-compute/proto";
import { z } from "zod";

/** What coordinators say to each other over HTTP: read by both ends, and no part of the public API. */

/** Where they say it, below a coordinator's address. */
export const PEER_PATHS = { nudge: "/internal/nudge", progress: "/internal/progress" } as const;

/** Task ids in one message: 37 bytes each, so that it stays below the facade's limit of 64 KiB. */
export const MAX_TASKS = 1_000;

// The pattern makes it Hex; zod has no way to say so to the compiler.
const taskId = z.string().regex(/^0x[0-9a-f]{32}$/) as unknown as z.ZodType<Hex, Hex>;
const taskIds = z.array(taskId).max(MAX_TASKS);

/** A nudge. What a newer version says beside it is passed over, here and below. */
export const NudgeMessage = z.object({
  queue: z.literal(true).exactOptional(),
  tasks: taskIds.exactOptional(),
});

/** How far are these tasks? */
export const ProgressQuestion = z.object({ taskIds });

/** 0 to 1 by task id, of those that run at the coordinator that answers. */
export const ProgressAnswer = z.object({ progress: z.record(z.string(), z.number().min(0).max(1)) });

/** The bearer token that shows a coordinator to its peers. */
export function peerToken(secret: Uint8Array): string {
  return toHex(secret).slice(2);
}
