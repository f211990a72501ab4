import { FailureCode } from "@proof-of-compute/proto/node";
import { TaskSpec } from "@proof-of-compute/proto/task";
import { type Executor, type Plan, UnsupportedError } from "../kinds/kind.ts";
import { messageOf } from "./failures.ts";
import type { Slots } from "./slots.ts";

/** The node does not take an assignment; nobody is to blame. */
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
  /** As the executor's kind parsed it. */
  readonly spec: unknown;
  readonly plan: Plan;
  readonly executor: Executor;
}

/** What the node has, and what is in use. */
export interface Resources {
  readonly executors: readonly Executor[];
  readonly slots: Pick<Slots, "hasRoomFor">;
  readonly memoryBytes: number;
  /** The assignments that run now. */
  running(): Iterable<Pick<Admitted, "plan" | "executor">>;
  /** Why the outbox cannot hold `bytes` more; undefined when it can. */
  outboxRefusal(bytes: number): string | undefined;
}

/** Decides whether the node takes an assignment in addition to the running ones. Throws {@link Declined}. */
export function admit(specBytes: Uint8Array, node: Resources): Admitted {
  const admitted = understand(specBytes, node.executors);
  const { executor, plan } = admitted;
  let { memoryBytes, maxOutputBytes } = plan;
  if (memoryBytes > node.memoryBytes) {
    throw new Declined(
      FailureCode.FAILURE_CODE_UNSUPPORTED,
      `it needs ${memoryBytes} bytes of memory, more than the ${node.memoryBytes} that tasks may use (--memory)`,
    );
  }
  if (!node.slots.hasRoomFor(executor, node.running())) {
    throw new Declined(FailureCode.FAILURE_CODE_BUSY, `no slot is free for ${executor.kind.name}`);
  }
  for (const { plan: other } of node.running()) {
    memoryBytes += other.memoryBytes;
    maxOutputBytes += other.maxOutputBytes;
  }
  if (memoryBytes > node.memoryBytes) throw new Declined(FailureCode.FAILURE_CODE_BUSY, "not enough memory is free");
  const full = node.outboxRefusal(maxOutputBytes);
  if (full !== undefined) throw new Declined(FailureCode.FAILURE_CODE_BUSY, full);
  return admitted;
}

function understand(specBytes: Uint8Array, executors: readonly Executor[]): Admitted {
  try {
    const { kind: member } = TaskSpec.decode(specBytes);
    const executor = executors.find(({ kind }) => kind.specCase === member?.$case);
    if (executor === undefined) throw new UnsupportedError("this node does not serve this kind of task");
    const spec = executor.kind.parse(member!.value);
    return { spec, executor, plan: executor.plan(spec) };
  } catch (error) {
    throw new Declined(FailureCode.FAILURE_CODE_UNSUPPORTED, messageOf(error), { cause: error });
  }
}
