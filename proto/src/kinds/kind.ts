import type { TaskSpec } from "../../gen/proofofcompute/node/v1/task.ts";
import type { AssuranceName, TaskKindName } from "../receipt.ts";
import type { LinkDescription } from "../verify/links.ts";

/** What makes one execution of a spec different from any other; all in bytes. */
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

/** What is known of a task before it runs. */
export interface Bounds {
  /** Most bytes that an output may have. */
  readonly maxOutputBytes: number;
  /** Most units that a result may be worth. */
  readonly maxUnits: bigint;
  /** Whether every right result is worth exactly `maxUnits`. */
  readonly unitsAreExact: boolean;
}

/** Hears the fraction that is done, 0 to 1, and says whether to go on. */
export type Report = (fraction: number) => boolean;

/** Whether something holds, and what there is to say of it, for people. */
export interface Finding {
  readonly holds: boolean;
  readonly detail: string;
}

/** A check of a receipt that only its kind can make, once the result's bytes are known to be those that were signed. */
export interface ReceiptLink<Spec> extends LinkDescription {
  /** Throws only where it could not be checked: that says nothing against the receipt. */
  check(claim: Claim<Spec>, report?: Report): Finding | Promise<Finding>;
}

/**
 * One kind of task, as both ends of a wire and everybody who checks a receipt see it. Pure: the same code runs in Node, in
 * worker threads and in browsers. docs/guides/adding-a-kind.md walks through a small one.
 */
export interface Kind<Spec = unknown> {
  /** As REST, the hub and the stores write it. */
  readonly name: TaskKindName;
  /** The member of `TaskSpec.kind` that holds its parameters. */
  readonly specCase: NonNullable<TaskSpec["kind"]>["$case"];
  /** Checks the member's value. Throws a RangeError that names the field. */
  parse(member: unknown): Spec;
  bounds(spec: Spec): Bounds;
  /** Units of a right result, by the declared formula. Throws a RangeError when the output cannot be one of this task. */
  units(spec: Spec, output: Uint8Array): bigint;
  /** Why its receipts can be believed. */
  readonly assurance: AssuranceName;
  /** Whether a node's word that the task failed may be true; otherwise such a failure is the node's own. */
  readonly canFail: boolean;
  /** Whether equal specs have equal outputs, so that replicas can be compared. */
  readonly deterministic: boolean;
  /** For people, for example "product of 5 matrices of 1024 x 1024 over F_251". */
  title(spec: Spec): string;
  /** In the order in which they are checked, after the link "result digest". */
  readonly links: readonly ReceiptLink<Spec>[];
  /** Computes the output again from public facts; null when `report` ended it. Absent where nobody else can. */
  recompute?(work: Work<Spec>, report?: Report): Uint8Array | null;
}
