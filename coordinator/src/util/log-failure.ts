import type { Logger } from "pino";
import { ComputeError } from "../domain/errors.ts";

/**
 * Logs a step that failed and will be repeated. A failure because the store is unavailable is logged at debug level only:
 * the heartbeat of the cluster logs once that the store is unavailable.
 */
export function logFailure(logger: Logger, error: unknown, message: string, fields: object = {}): void {
  const isAbsence = error instanceof ComputeError && error.code === "UNAVAILABLE";
  logger[isAbsence ? "debug" : "warn"]({ err: error, ...fields }, message);
}
