import { createHash } from "node:crypto";
import type { Execution, ExecutionIo, Executor, Output, Plan, Work } from "@proof-of-compute/daemon/kinds/kind";
import type { Kind } from "@proof-of-compute/proto/kinds";
import type { EchoSpec } from "@proof-of-compute/proto/task";
import { echo } from "../echo/protocol.ts";

/** What a scripted task takes; it stands in the input of an echo task. */
export interface ScriptedSpec {
  readonly outputBytes: number;
  readonly memoryBytes: number;
  readonly tiny: boolean;
}

/** A kind with the tasks that a test wants. They may fail by their own fault. */
export const scripted: Kind<ScriptedSpec> = {
  name: echo.name,
  specCase: echo.specCase,
  parse: (member) => JSON.parse(new TextDecoder().decode(echo.parse(member).input)),
  bounds: ({ outputBytes }) => ({ maxOutputBytes: outputBytes, maxUnits: 1n, unitsAreExact: true }),
  units: () => 1n,
  assurance: "attested",
  canFail: true,
  deterministic: false,
  title: ({ outputBytes }) => `scripted, ${outputBytes} bytes`,
  links: [],
};

/** The parameters of a task of the kind {@link scripted}. */
export function scriptedMember(spec: ScriptedSpec): EchoSpec {
  return { input: new TextEncoder().encode(JSON.stringify(spec)) };
}

/** One execution that its test ends, unless it is stopped before. */
export class ScriptedExecution implements Execution {
  readonly #end = Promise.withResolvers<Output>();
  readonly work: Work<ScriptedSpec>;
  readonly io: ExecutionIo;
  progress = 0;

  constructor(work: Work<ScriptedSpec>, io: ExecutionIo) {
    this.work = work;
    this.io = io;
    this.done.catch(() => {});
    io.signal.addEventListener("abort", () => this.#end.reject(io.signal.reason));
  }

  get done(): Promise<Output> {
    return this.#end.promise;
  }

  get stopped(): boolean {
    return this.io.signal.aborted;
  }

  fraction(): number {
    return this.progress;
  }

  finish(output: Uint8Array): void {
    this.#end.resolve({ output, outputDigest: createHash("sha256").update(output).digest() });
  }

  /** Ends with what follows the emitted chunks, and leaves the digest to the daemon. */
  finishRest(output: Uint8Array = new Uint8Array()): void {
    this.#end.resolve({ output });
  }

  crash(error: unknown): void {
    this.#end.reject(error);
  }
}

/** An executor for tests that computes nothing: its test ends every execution. */
export class ScriptedExecutor implements Executor<ScriptedSpec> {
  readonly kind = scripted;
  readonly executions: ScriptedExecution[] = [];
  /** Undefined: it takes CPU slots. */
  slots: number | undefined;
  rateKey = "scripted";
  /** What it measures. */
  unitsPerSecond = 1_000;
  measurements = 0;

  async rate(): Promise<number> {
    this.measurements++;
    return this.unitsPerSecond;
  }

  plan(spec: ScriptedSpec): Plan {
    const { memoryBytes, tiny } = spec;
    return { ...scripted.bounds(spec), title: scripted.title(spec), memoryBytes, tiny };
  }

  execute(work: Work<ScriptedSpec>, io: ExecutionIo): Execution {
    const execution = new ScriptedExecution(work, io);
    this.executions.push(execution);
    return execution;
  }

  async stop(): Promise<void> {}
}
