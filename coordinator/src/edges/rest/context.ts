import type { IncomingMessage, ServerResponse } from "node:http";
import type { FastifyBaseLogger, FastifyInstance, RawServerDefault } from "fastify";
import type { ZodTypeProvider } from "fastify-type-provider-zod";
import type { Task } from "../../domain/task.ts";
import type { Sessions } from "./auth/sessions.ts";
import type { RestComponents, RestInit } from "./components.ts";
import type { BatchLookup } from "./ledger/batch-lookup.ts";
import type { ReceiptFiles } from "./ledger/receipt-files.ts";
import type { DownloadBudget } from "./limits/download-budget.ts";
import type { RestLimits } from "./limits/limits.ts";
import type { NetworkNumbers } from "./network/numbers.ts";
import { PROBLEM_JSON } from "./problems.ts";
import { Problem } from "./schemas.ts";
import type { TaskView } from "./tasks/schemas.ts";
import { taskView } from "./tasks/views.ts";

/** A Fastify server whose schemas are zod's. */
export type RestApp = FastifyInstance<
  RawServerDefault,
  IncomingMessage,
  ServerResponse,
  FastifyBaseLogger,
  ZodTypeProvider
>;

/** What the route modules share. */
export interface RestContext {
  readonly components: RestComponents;
  readonly init: RestInit;
  readonly limits: RestLimits;
  readonly sessions: Sessions;
  readonly batches: BatchLookup;
  readonly receiptFiles: ReceiptFiles;
  readonly numbers: NetworkNumbers;
  /** In bytes. */
  readonly resultBudget: DownloadBudget;
  /** In answers. */
  readonly exportBudget: DownloadBudget;
}

/** The `default` response of every route. */
export const PROBLEMS = {
  default: {
    description: "An error; docs/reference/errors.md lists the codes",
    content: { [PROBLEM_JSON]: { schema: Problem } },
  },
};

/** A task as people see it, with the batch that carries its receipt. */
export async function renderTask({ components, batches, init }: RestContext, task: Task): Promise<TaskView> {
  const { kinds, scheduler, watch } = components;
  const live = {
    waitingReason: scheduler.waitingReason(task),
    progress: scheduler.progress(task.id) ?? watch.progressOf(task.id),
  };
  return taskView(task, await batches.ofTask(task), live, { kinds, network: init.network });
}
