import type { TaskKind, TaskSpec } from "@proof-of-compute/proto/task";

/** Parameters that this node does not serve; the assignment ends as UNSUPPORTED. */
export class UnsupportedError extends Error {
  override readonly name = "UnsupportedError";
}

/** What an assignment will take, known before it starts. */
export interface Plan {
  /** For people, for example "matmul n=1024 k=5". */
  readonly title: string;
  /** Compute units that it earns when accepted. */
  readonly units: bigint;
  readonly outputBytes: number;
  /** Main memory while it runs. */
  readonly memoryBytes: number;
  /** Takes milliseconds: not worth a message of its own anywhere. */
  readonly tiny: boolean;
}

/** What makes one execution different from any other. */
export interface Work {
  readonly assignmentId: Uint8Array;
  readonly taskId: Uint8Array;
  readonly nodeId: Uint8Array;
  /** SHA-256 of the spec bytes. */
  readonly specDigest: Uint8Array;
  readonly spec: TaskSpec;
}

/** A finished computation. */
export interface Output {
  readonly output: Uint8Array;
  /** SHA-256 of it. */
  readonly outputDigest: Uint8Array;
}

/** One running computation. */
export interface Execution {
  /** Null when it was cancelled; rejects when the worker failed. */
  readonly done: Promise<Output | null>;
  /** How much is done, 0 to 1. */
  fraction(): number;
  /** Stops it soon; `done` says when. */
  cancel(): void;
}

/** Runs tasks of one kind. One instance may serve several daemons of a process. */
export interface Executor {
  readonly kind: TaskKind;
  /** The member of TaskSpec that it serves. */
  readonly specCase: NonNullable<TaskSpec["kind"]>["$case"];
  /** Throws {@link UnsupportedError}. */
  plan(spec: TaskSpec): Plan;
  execute(work: Work): Execution;
  /** Ends the workers at once; running executions reject. Safe to repeat. */
  stop(): Promise<void>;
}
