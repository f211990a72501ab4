import type { Logger } from "pino";
import { ComputeError } from "../domain/errors.ts";

/**
 * Logs a step that failed and will be tried again. What fails because the store is away is for debugging only: that it is
 * away is said once, where signs of life are given.
 */
export function logFailure(logger: Logger, error: unknown, message: string, fields: object = {}): void {
  const isAbsence = error instanceof ComputeError && error.code === "UNAVAILABLE";
  logger[isAbsence ? "debug" : "warn"]({ err: error, ...fields }, message);
}
