import { ComputeError, type ErrorCode } from "../../domain/errors.ts";
import type { Operations } from "./operations.ts";

/** A call on its way to the store's thread. */
export type Call = readonly [name: keyof Operations, args: readonly unknown[]];

/** What the store's thread is told: the calls of one event-loop turn, or to finish what it was told and close. */
export type Request = readonly Call[] | "close";

/** What it answers, once that is durable: first that it is open, then the outcomes of calls, in their order. */
export type Answer =
  | "open"
  | {
      readonly values: readonly unknown[];
      /** Errors by the place of their call; there, the value says nothing. */
      readonly errors: ReadonlyMap<number, CrossingError>;
      /** Why nothing could be committed. */
      readonly failure: { readonly error: unknown; readonly operations: number } | undefined;
    }
  | { readonly refused: CrossingError };

/** An error as it can be cloned: the code of a {@link ComputeError} would be lost. */
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
