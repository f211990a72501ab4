import { hash } from "node:crypto";
import { type Hex, toHex } from "@proof-of-compute/proto";
import type { Assignment, FailureCode } from "@proof-of-compute/proto/node";
import type { Blobs } from "../blobs/blobs.ts";
import type { Execution, ExecutionIo, Executor, Output, Plan, Work } from "../kinds/kind.ts";
import type { Admitted } from "./admission.ts";
import { type Failed, failed } from "./failures.ts";
import { OutputBuffer } from "./output-buffer.ts";

/** A running task, for people. */
export interface RunningTask {
  readonly taskId: Hex;
  readonly title: string;
  /** Units that its result earns, or the most that it may earn unless `unitsAreExact`. */
  readonly maxUnits: bigint;
  readonly unitsAreExact: boolean;
  /** 0 to 1. */
  readonly fraction: number;
  /** Milliseconds since 1970. */
  readonly startedAt: number;
}

/** One assignment from its acceptance to the end of its execution. */
export class RunningAssignment {
  readonly id: Hex;
  readonly assignment: Assignment;
  /** Network of the coordinator that assigned it. */
  readonly networkId: Uint8Array;
  readonly executor: Executor;
  readonly plan: Plan;
  /** SHA-256 of the spec bytes. */
  readonly specDigest: Uint8Array;
  readonly #startedAt = Date.now();
  readonly #abort = new AbortController();
  readonly #output: OutputBuffer;
  readonly #execution: Execution;
  #stopped: Failed | undefined;

  /** Begins to compute. */
  constructor(
    components: { readonly blobs: Pick<Blobs, "get"> },
    init: {
      readonly id: Hex;
      readonly assignment: Assignment;
      readonly admitted: Admitted;
      readonly nodeId: Uint8Array;
      readonly networkId: Uint8Array;
    },
  ) {
    const { assignment, nodeId, networkId } = init;
    const { spec, plan, executor } = init.admitted;
    this.id = init.id;
    this.assignment = assignment;
    this.networkId = networkId;
    this.executor = executor;
    this.plan = plan;
    this.specDigest = hash("sha256", assignment.spec, "buffer");
    this.#output = new OutputBuffer(plan.maxOutputBytes);
    const { signal } = this.#abort;
    const io: ExecutionIo = {
      signal,
      blob: (sha256) => components.blobs.get(sha256, { networkId, signal }),
      emit: (chunk) => this.#output.append(chunk),
    };
    const { assignmentId, taskId } = assignment;
    this.#execution = begin(executor, { assignmentId, taskId, nodeId, specDigest: this.specDigest, spec }, io);
  }

  /** Why it is being stopped; undefined while it is not. */
  get stopped(): Failed | undefined {
    return this.#stopped;
  }

  /** How much is done, 0 to 1, as the executor says. */
  get fraction(): number {
    return this.#execution.fraction?.() ?? 0;
  }

  /** Rejects with the executor's error. */
  async result(): Promise<Required<Output>> {
    return this.#output.end(await this.#execution.done);
  }

  /** Stops it soon. A later reason replaces an earlier one. */
  stop(code: FailureCode, detail: string): void {
    this.#stopped = failed(code, detail);
    this.#abort.abort();
  }

  forPeople(): RunningTask {
    const { title, maxUnits, unitsAreExact } = this.plan;
    return {
      taskId: toHex(this.assignment.taskId),
      title,
      maxUnits,
      unitsAreExact,
      fraction: this.fraction,
      startedAt: this.#startedAt,
    };
  }
}

/** Turns what an executor throws into a rejection. */
function begin(executor: Executor, work: Work<unknown>, io: ExecutionIo): Execution {
  try {
    return executor.execute(work, io);
  } catch (error) {
    return { done: Promise.reject(error) };
  }
}
