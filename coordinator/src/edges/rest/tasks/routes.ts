import type { Hex } from "@proof-of-compute/proto";
import { ComputeError } from "../../../domain/errors.ts";
import { acceptedReceipt, type Task } from "../../../domain/task.ts";
import type { Session } from "../auth/sessions.ts";
import { PROBLEMS, type RestApp, type RestContext, renderTask } from "../context.ts";
import { OctetStream } from "../schemas.ts";
import { idempotency } from "./idempotency.ts";
import { sendResult } from "./results.ts";
import { DispatchHeaders, SseStream, TaskParams, TasksQuery, taskSchemas } from "./schemas.ts";
import type { TaskStreams } from "./streams.ts";

const SIGNED_IN = [{ session: [] }];

/** Asking for work, and what became of it. A task is its requester's; receipts are everybody's. */
export function taskRoutes(app: RestApp, context: RestContext, streams: TaskStreams): void {
  const { components, sessions, limits, init } = context;
  const { kinds, store, scheduler } = components;
  const { DispatchRequest, TaskView, TaskPage } = taskSchemas(kinds);
  // Per-wallet limit in addition to the per-address one. A route-level limit would replace that, and wallets are free to create.
  const countDispatch = app.createRateLimit({
    max: limits.dispatchesPerMinute,
    keyGenerator: (request) => sessions.require(request).wallet,
  });

  async function ownTask(id: Hex, session: Session): Promise<Task> {
    const task = await store.task(id);
    if (!task) {
      throw new ComputeError(
        "NOT_FOUND",
        `there is no task ${id}; if there was one, it ended so long ago that only its receipt is kept`,
      );
    }
    if (task.requester !== session.wallet) throw new ComputeError("FORBIDDEN");
    return task;
  }

  app.post(
    "/api/node/dispatch-task",
    {
      schema: {
        summary: "Ask for a compute task",
        description:
          "Stores the task and gives it to a node as soon as one fits. With an Idempotency-Key the same request can be " +
          "sent again safely: it answers 200 with the task that the first one made.",
        tags: ["tasks"],
        security: SIGNED_IN,
        headers: DispatchHeaders,
        body: DispatchRequest,
        response: { 200: TaskView, 202: TaskView, ...PROBLEMS },
      },
      preHandler: async (request, reply) => {
        const counted = await countDispatch(request);
        if (counted.isAllowed || !counted.isExceeded) return;
        reply.header("retry-after", counted.ttlInSeconds);
        throw new ComputeError("RATE_LIMITED", `your wallet asks too often; try again in ${counted.ttlInSeconds} s`);
      },
    },
    async (request, reply) => {
      const { wallet } = sessions.require(request);
      const { deadlineSeconds } = request.body;
      const kind = kinds.get(request.body.kind)!;
      const key = request.headers["idempotency-key"];
      const identity = key === undefined ? undefined : idempotency(wallet, key, kind, request.body);
      const { task, created } = await scheduler.submit({
        requester: wallet,
        kind: kind.name,
        spec: kind.toSpec(request.body[kind.name]),
        deadlineMs: deadlineSeconds === undefined ? init.defaultDeadlineMs : deadlineSeconds * 1000,
        ...identity,
      });
      if (!created && task.requestDigest !== identity?.requestDigest) throw new ComputeError("IDEMPOTENCY_MISMATCH");
      request.log.info({ taskId: task.id, requester: wallet, kind: kind.name, created }, "task dispatched");
      return reply
        .code(created ? 202 : 200)
        .header("location", `/api/tasks/${task.id}`)
        .send(await renderTask(context, task));
    },
  );

  app.get(
    "/api/tasks",
    {
      schema: {
        summary: "The signed-in wallet's tasks, newest first",
        tags: ["tasks"],
        security: SIGNED_IN,
        querystring: TasksQuery,
        response: { 200: TaskPage, ...PROBLEMS },
      },
    },
    async (request) => {
      const { wallet } = sessions.require(request);
      const { limit, cursor } = request.query;
      const page = await store.tasks({ requester: wallet, limit, ...(cursor !== undefined && { cursor }) });
      const items = await Promise.all(page.items.map((task) => renderTask(context, task)));
      return { items, ...(page.cursor !== undefined && { cursor: page.cursor }) };
    },
  );

  app.get(
    "/api/tasks/:id",
    {
      schema: {
        summary: "One task with its whole history",
        tags: ["tasks"],
        security: SIGNED_IN,
        params: TaskParams,
        response: { 200: TaskView, ...PROBLEMS },
      },
    },
    async (request) => renderTask(context, await ownTask(request.params.id, sessions.require(request))),
  );

  app.post(
    "/api/tasks/:id/cancel",
    {
      schema: {
        summary: "Cancel a task",
        description: "A queued task is cancelled at once; a running one becomes cancelling until its node has stopped.",
        tags: ["tasks"],
        security: SIGNED_IN,
        params: TaskParams,
        response: { 200: TaskView, ...PROBLEMS },
      },
    },
    async (request) => {
      const task = await ownTask(request.params.id, sessions.require(request));
      return renderTask(context, await scheduler.cancel(task.id));
    },
  );

  app.get(
    "/api/tasks/:id/result",
    {
      schema: {
        summary: "The result's bytes",
        description:
          "In the form of its kind; see docs/reference/protocol.md. Content-Digest (RFC 9530) and ETag carry their SHA-256.",
        tags: ["tasks"],
        security: SIGNED_IN,
        params: TaskParams,
        response: { 200: OctetStream, ...PROBLEMS },
      },
    },
    async (request, reply) => {
      const task = await ownTask(request.params.id, sessions.require(request));
      const receipt = acceptedReceipt(task);
      if (!receipt) throw new ComputeError("NO_RESULT", `the task is ${task.state}`);
      reply.header("cache-control", "private, no-cache");
      return sendResult(context, receipt, request, reply);
    },
  );

  app.get(
    "/api/tasks/:id/events",
    {
      // HEAD would hold a stream open that nobody can read.
      exposeHeadRoute: false,
      schema: {
        summary: "The task as it changes (server-sent events)",
        description:
          "Every event's data is the whole task. On connecting the present state comes first, unless Last-Event-ID names " +
          "it already. The stream ends after a final state (recorded, failed, cancelled); dialling again then answers 204.",
        tags: ["tasks"],
        security: SIGNED_IN,
        params: TaskParams,
        response: { 200: SseStream, ...PROBLEMS },
      },
    },
    async (request, reply) => {
      const session = sessions.require(request);
      const task = await ownTask(request.params.id, session);
      const lastEventId = request.headers["last-event-id"];
      return streams.open(reply, task, session, typeof lastEventId === "string" ? lastEventId : undefined);
    },
  );
}
