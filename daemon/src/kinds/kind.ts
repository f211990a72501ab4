import type { TaskKindName } from "@proof-of-compute/proto";
import type { Bounds, Kind, Work } from "@proof-of-compute/proto/kinds";

export type { Work };

/** This node does not serve these parameters: the assignment ends with FAILURE_CODE_UNSUPPORTED. */
export class UnsupportedError extends Error {
  override readonly name = "UnsupportedError";
}

/**
 * The task itself is at fault and would fail on any node: the assignment ends with FAILURE_CODE_TASK. The message is one line
 * for the requester. Any other error of an executor counts as a fault of this node.
 */
export class TaskFailedError extends Error {
  override readonly name = "TaskFailedError";
}

/** What an assignment takes, known before it runs. */
export interface Plan extends Bounds {
  /** For the status screen, at most 30 characters, such as "echo of 5 bytes". */
  readonly title: string;
  /** Most main memory that it takes, its output and the content that it fetches included. */
  readonly memoryBytes: number;
  /** Whether it takes milliseconds, so that its result is soon enough an answer to its assignment. */
  readonly tiny: boolean;
}

/** What the node provides for one execution. */
export interface ExecutionIo {
  /** Aborts when the result is no longer wanted; the execution then ends soon, in any way. */
  readonly signal: AbortSignal;
  /**
   * Content that the task names, from the cache on disk or from a coordinator, with its digest checked. Waits while there is
   * no coordinator. The bytes are shared: do not change them. Rejects with a `BlobError`, or with the signal's reason.
   */
  blob(sha256: Uint8Array): Promise<Uint8Array>;
  /**
   * Adds a copy of a chunk to the output, for executors that produce it piece by piece. The node sends the output once it is
   * complete. Throws a RangeError when the output outgrows `Plan.maxOutputBytes`.
   */
  emit(chunk: Uint8Array): void;
}

/** What an execution ends with. */
export interface Output {
  /** The whole output, or what follows the chunks that were emitted. */
  readonly output: Uint8Array;
  /** SHA-256 of the whole output, if the executor has it. */
  readonly outputDigest?: Uint8Array;
}

/** One task that is being computed. */
export interface Execution {
  /** Rejects with a {@link TaskFailedError}, or with any other error for a fault of this node. */
  readonly done: Promise<Output>;
  /** How much is done, 0 to 1; absent: unknown until the end. */
  fraction?(): number;
}

/** Runs the tasks of one kind on this machine. Several daemons in one process may share an executor. */
export interface Executor<Spec = unknown> {
  readonly kind: Kind<Spec>;
  /**
   * Tasks at once on hardware of its own, such as a GPU or a loaded model, which may change at any time; 0: none at present.
   * Absent: its tasks take CPU slots, which all kinds without slots of their own share.
   */
  readonly slots?: number | undefined;
  /**
   * What its rate depends on, besides the processor and the version of Node: a measurement is kept until this changes.
   */
  readonly rateKey: string;
  /** Measures the compute units a second of one slot while all of its slots are busy. Takes a few seconds at most. */
  rate(): Promise<number>;
  /** What a task will take. Throws an {@link UnsupportedError} when this node cannot run it. */
  plan(spec: Spec): Plan;
  /** Begins to compute. A slot and the memory of the plan are free. */
  execute(work: Work<Spec>, io: ExecutionIo): Execution;
  /** Ends its workers at once; running executions reject. Safe to repeat. */
  stop(): Promise<void>;
}

/** What an executor may use. */
export interface Machine {
  /** Tasks of CPU kinds at once. */
  readonly cpuSlots: number;
}

/** Makes the executor of a kind; one line in the registry. */
export interface ExecutorFactory {
  readonly name: TaskKindName;
  create(machine: Machine): Executor;
}
