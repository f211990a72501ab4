import { ComputeError, type ErrorCode } from "../../domain/errors.ts";
import type { Operations } from "./operations.ts";

/** A call to the store's thread. */
export type Call = readonly [name: keyof Operations, args: readonly unknown[]];

/** A message to the store's thread: the calls of one event-loop turn, or to finish all calls and close. */
export type Request = readonly Call[] | "close";

/** An answer: first that the store is open, then the durable outcomes of calls, in order. */
export type Answer =
  | "open"
  | {
      readonly values: readonly unknown[];
      /** Errors by the index of their call; the value at that index has no meaning. */
      readonly errors: ReadonlyMap<number, CrossingError>;
      /** Why the group could not be committed. */
      readonly failure: { readonly error: unknown; readonly operations: number } | undefined;
    }
  | { readonly refused: CrossingError };

/** An error for the structured clone, which would lose the code of a {@link ComputeError}. */
export interface CrossingError {
  readonly error: unknown;
  readonly code: ErrorCode | undefined;
}

export function crossing(error: unknown): CrossingError {
  return { error, code: error instanceof ComputeError ? error.code : undefined };
}

export function crossed({ error, code }: CrossingError): unknown {
  if (code === undefined) return error;
  const { message, cause } = error as Error;
  return new ComputeError(code, message, cause === undefined ? undefined : { cause });
}
