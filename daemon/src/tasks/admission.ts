import { FailureCode } from "@proof-of-compute/proto/node";
import { TaskSpec } from "@proof-of-compute/proto/task";
import { type Executor, type Plan, UnsupportedError } from "../kinds/kind.ts";

/** An assignment that the node does not take; nobody is to blame. */
export class Declined extends Error {
  override readonly name = "Declined";
  readonly code: FailureCode;

  constructor(code: FailureCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}

/** An assignment that the node takes, and what runs it. */
export interface Admitted {
  readonly spec: TaskSpec;
  readonly plan: Plan;
  readonly executor: Executor;
}

/**
 * Decides whether the node takes an assignment beside what it runs already. `outboxRefusal` says why the outbox cannot
 * hold so many more bytes. Throws {@link Declined}.
 */
export function admit(
  specBytes: Uint8Array,
  node: {
    readonly executors: readonly Executor[];
    readonly running: Iterable<Plan>;
    readonly memoryBytes: number;
    outboxRefusal(bytes: number): string | undefined;
  },
): Admitted {
  const admitted = understand(specBytes, node.executors);
  let { memoryBytes, outputBytes } = admitted.plan;
  if (memoryBytes > node.memoryBytes) {
    throw new Declined(
      FailureCode.FAILURE_CODE_UNSUPPORTED,
      `it takes ${memoryBytes} bytes of memory, and tasks may have ${node.memoryBytes} (--memory)`,
    );
  }
  for (const plan of node.running) {
    memoryBytes += plan.memoryBytes;
    outputBytes += plan.outputBytes;
  }
  if (memoryBytes > node.memoryBytes) throw new Declined(FailureCode.FAILURE_CODE_BUSY, "no memory is free for it");
  const full = node.outboxRefusal(outputBytes);
  if (full !== undefined) throw new Declined(FailureCode.FAILURE_CODE_BUSY, full);
  return admitted;
}

function understand(specBytes: Uint8Array, executors: readonly Executor[]): Admitted {
  try {
    const spec = TaskSpec.decode(specBytes);
    const executor = executors.find(({ specCase }) => specCase === spec.kind?.$case);
    if (executor === undefined) throw new UnsupportedError("this node does not serve that kind of task");
    return { spec, executor, plan: executor.plan(spec) };
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    throw new Declined(FailureCode.FAILURE_CODE_UNSUPPORTED, why, { cause: error });
  }
}
