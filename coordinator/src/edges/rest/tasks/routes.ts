import type { Hex } from "@proof-of-compute/proto";
import type { FastifyRequest } from "fastify";
import { ComputeError } from "../../../domain/errors.ts";
import { acceptedReceipt, type Task } from "../../../domain/task.ts";
import { PROBLEMS, type RestApp, type RestContext, renderTask } from "../context.ts";
import { OctetStream } from "../schemas.ts";
import { idempotency } from "./idempotency.ts";
import { sendResult } from "./results.ts";
import { DispatchHeaders, SseStream, TaskParams, TasksQuery, taskSchemas } from "./schemas.ts";
import type { TaskStreams } from "./streams.ts";

/** What every route of tasks says of itself. A task is visible to its requester only; receipts are public. */
const COMMON = { tags: ["tasks"], security: [{ session: [] }] };

/** Requests for work, and what became of them. */
export function taskRoutes(app: RestApp, context: RestContext, streams: TaskStreams): void {
  const schemas = taskSchemas(context.components.kinds);
  dispatchRoute(app, context, schemas);
  readRoutes(app, context, schemas);
  cancelRoute(app, context, schemas);
  resultRoute(app, context);
  eventsRoute(app, context, streams);
}

type TaskSchemas = ReturnType<typeof taskSchemas>;

/** Reads a task of the signed-in wallet. Throws UNAUTHENTICATED, NOT_FOUND and FORBIDDEN. */
async function ownTask({ components, sessions }: RestContext, id: Hex, request: FastifyRequest): Promise<Task> {
  const { wallet } = sessions.require(request);
  const task = await components.store.task(id);
  if (!task) {
    throw new ComputeError(
      "NOT_FOUND",
      `there is no task ${id}; a task that ended long ago is deleted, and only its receipt stays`,
    );
  }
  if (task.requester !== wallet) throw new ComputeError("FORBIDDEN");
  return task;
}

function dispatchRoute(app: RestApp, context: RestContext, { DispatchRequest, TaskView }: TaskSchemas): void {
  const { components, sessions, limits, init } = context;
  const { kinds, scheduler } = components;
  // Per-wallet limit in addition to the per-address one. A route-level limit would replace it, and wallets are free to create.
  const countDispatch = app.createRateLimit({
    max: limits.dispatchesPerMinute,
    keyGenerator: (request) => sessions.require(request).wallet,
  });

  app.post(
    "/api/node/dispatch-task",
    {
      schema: {
        ...COMMON,
        summary: "Submit a compute task",
        description:
          "Stores the task and gives it to a node as soon as one fits. With an Idempotency-Key the same request can be " +
          "repeated safely: the repetition answers 200 with the task of the first request.",
        headers: DispatchHeaders,
        body: DispatchRequest,
        response: { 200: TaskView, 202: TaskView, ...PROBLEMS },
      },
      preHandler: async (request, reply) => {
        const counted = await countDispatch(request);
        if (counted.isAllowed || !counted.isExceeded) return;
        reply.header("retry-after", counted.ttlInSeconds);
        throw new ComputeError("RATE_LIMITED", `too many tasks of your wallet; try again in ${counted.ttlInSeconds} s`);
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
}

function readRoutes(app: RestApp, context: RestContext, { TaskView, TaskPage }: TaskSchemas): void {
  const { components, sessions } = context;

  app.get(
    "/api/tasks",
    {
      schema: {
        ...COMMON,
        summary: "The signed-in wallet's tasks, newest first",
        querystring: TasksQuery,
        response: { 200: TaskPage, ...PROBLEMS },
      },
    },
    async (request) => {
      const { wallet } = sessions.require(request);
      const { limit, cursor } = request.query;
      const page = await components.store.tasks({ requester: wallet, limit, ...(cursor !== undefined && { cursor }) });
      const items = await Promise.all(page.items.map((task) => renderTask(context, task)));
      return { items, ...(page.cursor !== undefined && { cursor: page.cursor }) };
    },
  );

  app.get(
    "/api/tasks/:id",
    {
      schema: {
        ...COMMON,
        summary: "One task with its whole history",
        params: TaskParams,
        response: { 200: TaskView, ...PROBLEMS },
      },
    },
    async (request) => renderTask(context, await ownTask(context, request.params.id, request)),
  );
}

function cancelRoute(app: RestApp, context: RestContext, { TaskView }: TaskSchemas): void {
  app.post(
    "/api/tasks/:id/cancel",
    {
      schema: {
        ...COMMON,
        summary: "Cancel a task",
        description: "A queued task is cancelled at once; a running one becomes cancelling until its node has stopped.",
        params: TaskParams,
        response: { 200: TaskView, ...PROBLEMS },
      },
    },
    async (request) => {
      const { id } = await ownTask(context, request.params.id, request);
      return renderTask(context, await context.components.scheduler.cancel(id));
    },
  );
}

function resultRoute(app: RestApp, context: RestContext): void {
  app.get(
    "/api/tasks/:id/result",
    {
      schema: {
        ...COMMON,
        summary: "The result's bytes",
        description:
          "In the format of its kind; see docs/reference/protocol.md. Content-Digest (RFC 9530) and ETag carry their SHA-256.",
        params: TaskParams,
        response: { 200: OctetStream, ...PROBLEMS },
      },
    },
    async (request, reply) => {
      const task = await ownTask(context, request.params.id, request);
      const receipt = acceptedReceipt(task);
      if (!receipt) throw new ComputeError("NO_RESULT", `the task is ${task.state}`);
      reply.header("cache-control", "private, no-cache");
      return sendResult(context, receipt, request, reply);
    },
  );
}

function eventsRoute(app: RestApp, context: RestContext, streams: TaskStreams): void {
  app.get(
    "/api/tasks/:id/events",
    {
      // HEAD would hold a stream open that nobody can read.
      exposeHeadRoute: false,
      schema: {
        ...COMMON,
        summary: "The task as it changes (server-sent events)",
        description:
          "Every event's data is the whole task. The first event is the current state, unless Last-Event-ID already names " +
          "it. The stream ends after a final state (recorded, failed, cancelled); a further request then answers 204.",
        params: TaskParams,
        response: { 200: SseStream, ...PROBLEMS },
      },
    },
    async (request, reply) => {
      const task = await ownTask(context, request.params.id, request);
      const lastEventId = request.headers["last-event-id"];
      const seen = typeof lastEventId === "string" ? lastEventId : undefined;
      return streams.open(reply, task, context.sessions.require(request), seen);
    },
  );
}
