import type { TaskKindName } from "@proof-of-compute/proto";
import { z } from "zod";
import type { CoordinatorKinds } from "../../../kinds/index.ts";
import { batchState, block, explorerUrl, transaction } from "../ledger/schemas.ts";
import { address, count, cursor, hex, type KindMembers, kindName, limit, page, text, time, units } from "../schemas.ts";

/** Shortest and longest time that a requester may give a task, in seconds. */
const DEADLINE_SECONDS = { min: 10, max: 7 * 86_400 } as const;

const deadlineSeconds = z
  .int()
  .min(DEADLINE_SECONDS.min)
  .max(DEADLINE_SECONDS.max)
  .optional()
  .meta({ description: "A task that is not verified by then fails; default: TASK_DEADLINE" });

/** Body of `POST /api/node/dispatch-task`: the parameters stand under the kind's name. */
export interface DispatchRequest extends KindMembers {
  readonly kind: TaskKindName;
  readonly deadlineSeconds?: number | undefined;
}

function dispatchRequest(kinds: CoordinatorKinds): z.ZodType<DispatchRequest, DispatchRequest> {
  const options = Array.from(kinds, ({ name, parameters }) =>
    z.strictObject({
      kind: z.literal(name).meta({ description: "Kind of task" }),
      [name]: parameters,
      deadlineSeconds,
    }),
  );
  const known = kinds.names.join(", ");
  const request = z
    .discriminatedUnion("kind", options as unknown as [z.ZodObject<{ kind: z.ZodLiteral<TaskKindName> }>], {
      error: ({ code }) => (code === "invalid_union" ? `the kinds of this coordinator are: ${known}` : undefined),
    })
    .meta({ id: "DispatchRequest", description: "What to compute, by when" });
  // Which member a kind has is known only here; the routes find it by the kind's name.
  return request as unknown as z.ZodType<DispatchRequest, DispatchRequest>;
}

/** Headers of `POST /api/node/dispatch-task`. */
export const DispatchHeaders = z.object({
  "idempotency-key": z
    .string()
    .regex(/^[\x21-\x7e]{1,255}$/)
    .optional()
    .meta({
      description: "1 to 255 visible ASCII characters; a request with the same key and body gets the same task",
    }),
});

/** States of a task in the API: the task's own and, once it is verified, the progress of its receipt. */
const TaskViewState = z
  .enum(["queued", "running", "cancelling", "verified", "batched", "recorded", "failed", "cancelled"])
  .meta({
    description:
      "queued: waits for a node; running: a node computes; cancelling: the node was told to stop; verified: the result " +
      "was checked; batched: a batch carries its receipt to the chain; recorded: a final block holds it; " +
      "failed and cancelled: final",
  });

/** One attempt at a task by one node. */
const AssignmentView = z
  .object({
    id: hex(16, "Assignment id, also the receipt's id when it was accepted"),
    nodeId: hex(32, "ed25519 public key of the node"),
    wallet: address,
    state: z.enum(["live", "accepted", "rejected", "failed", "declined", "lost", "cancelled"]),
    assignedAt: time("When the node got it"),
    endedAt: time("When it ended").optional(),
    reason: z.string().optional().meta({ description: "Why it ended" }),
  })
  .meta({ id: "Assignment", description: "One attempt at a task by one node" });

const identity = { id: hex(16, "Task id"), kind: kindName };
const progress = {
  state: TaskViewState,
  waitingReason: z.string().optional().meta({ description: "Why a queued task waits" }),
  progress: z.number().min(0).max(1).optional().meta({ description: "Progress of the running assignment" }),
  requester: address,
  units: units("What its receipt is worth; absent while that is not known").optional(),
  maxUnits: units("What its receipt is worth at most; present while `units` is not known").optional(),
  createdAt: time("When it was submitted"),
  deadline: time("When it fails unless it is verified"),
  attempts: count("Nodes on which the task itself failed"),
  assignments: z.array(AssignmentView).meta({ description: "Oldest first" }),
  specDigest: hex(32, "SHA-256 of the serialized TaskSpec"),
  resultDigest: hex(32, "SHA-256 of the result").optional(),
  receiptId: hex(16, "Receipt of the accepted assignment").optional(),
  verifiedAt: time("When its result was accepted").optional(),
  batch: z
    .object({ id: z.int(), state: batchState, transaction, block, explorerUrl })
    .optional()
    .meta({ description: "The batch that carries its receipt to the chain" }),
  error: z
    .object({ code: z.string(), detail: z.string() })
    .optional()
    .meta({ description: "Why it ended without a result" }),
};

const CommonTaskView = z.object({ ...identity, ...progress });

/**
 * One requested computation. What its kind shows stands under the kind's name; nothing stands there when this coordinator
 * does not know the kind.
 */
export type TaskView = z.output<typeof CommonTaskView> & KindMembers;

function taskView(kinds: CoordinatorKinds): z.ZodType<TaskView, TaskView> {
  const members = Object.fromEntries(Array.from(kinds, ({ name, view }) => [name, view.optional()]));
  return z.object({ ...identity, ...members, ...progress }).meta({
    id: "Task",
    description: "One requested computation; its parameters stand under the name of its kind",
  }) as unknown as z.ZodType<TaskView, TaskView>;
}

/** The schemas of tasks that depend on the kinds. */
export function taskSchemas(kinds: CoordinatorKinds) {
  const view = taskView(kinds);
  return {
    DispatchRequest: dispatchRequest(kinds),
    TaskView: view,
    TaskPage: page(view).meta({ id: "TaskPage", description: "Tasks, newest first" }),
  };
}

/** Path of one task. */
export const TaskParams = z.object({ id: hex(16, "Task id") });
/** Query of `GET /api/tasks`. */
export const TasksQuery = z.object({ limit, cursor });
/** Response of `GET /api/tasks/:id/events`. */
export const SseStream = text("text/event-stream", "Events whose id changes with the state and whose data is a Task");
