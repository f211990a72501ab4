import type { TaskSpec } from "../../gen/proofofcompute/node/v1/task.ts";
import type { AssuranceName, TaskKindName } from "../receipt.ts";
import type { LinkDescription } from "../verify/links.ts";

/** One execution of a spec: everything that distinguishes it from any other, as bytes. */
export interface Work<Spec> {
  readonly assignmentId: Uint8Array;
  readonly taskId: Uint8Array;
  readonly nodeId: Uint8Array;
  /** SHA-256 of the serialized TaskSpec. */
  readonly specDigest: Uint8Array;
  readonly spec: Spec;
}

/** Work whose result a node has signed. */
export interface Claim<Spec> extends Work<Spec> {
  readonly output: Uint8Array;
  /** SHA-256 of `output`, as signed. */
  readonly outputDigest: Uint8Array;
}

/** What a spec says before its task runs. */
export interface Bounds {
  /** Maximum size of an output. */
  readonly maxOutputBytes: number;
  /** Maximum units of a result. */
  readonly maxUnits: bigint;
  /** Whether every correct result is worth exactly `maxUnits`. */
  readonly unitsAreExact: boolean;
}

/** Called with the fraction done, 0 to 1. Returns whether to continue. */
export type Report = (fraction: number) => boolean;

/** The outcome of a check, with a sentence for people. */
export interface Finding {
  readonly holds: boolean;
  readonly detail: string;
}

/** A check that only the kind of a receipt can make. It runs after `result digest`: the output is what the node signed. */
export interface ReceiptLink<Spec> extends LinkDescription {
  /** Throws only when the check itself failed, which says nothing against the receipt. */
  check(claim: Claim<Spec>, report?: Report): Finding | Promise<Finding>;
}

/**
 * One kind of task, as both ends of a wire and everybody who checks a receipt see it. Pure: the same code runs in Node, in
 * worker threads and in browsers. docs/guides/adding-a-kind.md walks through a small one.
 */
export interface Kind<Spec = unknown> {
  /** Name in REST, the hub and the stores. */
  readonly name: TaskKindName;
  /** The member of `TaskSpec.kind` that holds its parameters. */
  readonly specCase: NonNullable<TaskSpec["kind"]>["$case"];
  /** Validates the member's value. Throws a RangeError that names the field. */
  parse(member: unknown): Spec;
  bounds(spec: Spec): Bounds;
  /**
   * Whether a task takes milliseconds, so that carrying it alone would cost more than computing it: such tasks of one moment
   * travel to one node together, and so do their results. Absent: never.
   */
  isTiny?(spec: Spec): boolean;
  /** Units of a correct result, by the declared formula. Throws a RangeError when the output cannot be one of this task. */
  units(spec: Spec, output: Uint8Array): bigint;
  /** Why its receipts can be believed. */
  readonly assurance: AssuranceName;
  /** Whether a task can fail through no fault of the node. If not, FAILURE_CODE_TASK counts against the node. */
  readonly canFail: boolean;
  /** Whether equal specs have equal outputs, so that replicas can be compared. */
  readonly deterministic: boolean;
  /** For people, for example "product of 5 matrices of 1024 x 1024 over F_251". */
  title(spec: Spec): string;
  /** In the order in which they are checked, after the link "result digest". */
  readonly links: readonly ReceiptLink<Spec>[];
  /** Recomputes the output from public data. Null when `report` ended it. Absent where only the node can compute it. */
  recompute?(work: Work<Spec>, report?: Report): Uint8Array | null;
}
