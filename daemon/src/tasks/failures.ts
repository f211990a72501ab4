import { FailureCode } from "@proof-of-compute/proto/node";
import type { Executor } from "../kinds/kind.ts";
import { TaskFailedError } from "../kinds/kind.ts";

/** Most bytes of Failure.detail are 1,024; a UTF-16 unit has at most 3. */
const DETAIL_CHARACTERS = 340;

/** How an assignment ends without a result. */
export interface Failed {
  readonly code: FailureCode;
  /** For people, at most 1,024 bytes. */
  readonly detail: string;
}

/** A failure, its detail cut to what the protocol allows. */
export function failed(code: FailureCode, detail: string): Failed {
  return { code, detail: detail.slice(0, DETAIL_CHARACTERS) };
}

/** Whose fault an executor's error is: the task's, if tasks of the kind can fail, or this node's. */
export function failureOf(error: unknown, { kind }: Pick<Executor, "kind">): Failed {
  const isOfTask = kind.canFail && error instanceof TaskFailedError;
  const code = isOfTask ? FailureCode.FAILURE_CODE_TASK : FailureCode.FAILURE_CODE_INTERNAL;
  return failed(code, messageOf(error));
}

export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
