import type { Execution, Executor, ExecutorFactory, Plan, Work } from "@proof-of-compute/daemon/kinds/kind";
import type { EchoSpec } from "@proof-of-compute/proto/task";
import { echo } from "./protocol.ts";

/** Answers with the input. */
export class EchoExecutor implements Executor<EchoSpec> {
  readonly kind = echo;
  readonly rateKey = "1";

  /** More than the largest echo task needs in any test. */
  async rate(): Promise<number> {
    return 1_000_000;
  }

  plan(spec: EchoSpec): Plan {
    const bounds = echo.bounds(spec);
    return { ...bounds, title: echo.title(spec), memoryBytes: 2 * bounds.maxOutputBytes, tiny: true };
  }

  execute({ spec }: Work<EchoSpec>): Execution {
    return { done: Promise.resolve({ output: spec.input }) };
  }

  async stop(): Promise<void> {}
}

/** The echo kind on the daemon's side; only tests register it. */
export const echoExecutor: ExecutorFactory = { name: "echo", create: () => new EchoExecutor() };
