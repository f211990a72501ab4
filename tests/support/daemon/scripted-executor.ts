import { createHash } from "node:crypto";
import type { Execution, Executor, Output, Plan, Work } from "@proof-of-compute/daemon/kinds/kind";
import { planMatmul } from "@proof-of-compute/daemon/kinds/matmul/executor";
import { TaskKind, type TaskSpec } from "@proof-of-compute/proto/task";

/** One execution that its test ends. */
export class ScriptedExecution implements Execution {
  readonly #end = Promise.withResolvers<Output | null>();
  readonly work: Work;
  cancelled = false;
  progress = 0;

  constructor(work: Work) {
    this.work = work;
  }

  get done(): Promise<Output | null> {
    return this.#end.promise;
  }

  fraction(): number {
    return this.progress;
  }

  cancel(): void {
    this.cancelled = true;
    this.#end.resolve(null);
  }

  finish(output: Uint8Array): void {
    this.#end.resolve({ output, outputDigest: createHash("sha256").update(output).digest() });
  }

  crash(message: string): void {
    this.#end.reject(new Error(message));
  }
}

/** An executor for tests that computes nothing: its test ends every execution. */
export class ScriptedExecutor implements Executor {
  readonly kind = TaskKind.TASK_KIND_MATMUL;
  readonly specCase = "matmul";
  readonly executions: ScriptedExecution[] = [];

  plan(spec: TaskSpec): Plan {
    return planMatmul(spec);
  }

  execute(work: Work): Execution {
    const execution = new ScriptedExecution(work);
    this.executions.push(execution);
    return execution;
  }

  async stop(): Promise<void> {}
}
