import { Metadata, type ServiceError, status } from "@grpc/grpc-js";
import { ComputeError, type ErrorCode } from "../../domain/errors.ts";

/** Metadata of a closing status that carries the stable code. */
export const ERROR_METADATA = "proof-of-compute-error";

/** The gRPC status of each code that can end a stream; other codes are INTERNAL. */
const STATUS: Partial<Record<ErrorCode, status>> = {
  BAD_SIGNATURE: status.UNAUTHENTICATED,
  UNAUTHENTICATED: status.UNAUTHENTICATED,
  AUDIENCE_REFUSED: status.FAILED_PRECONDITION,
  PROTOCOL_VIOLATION: status.INVALID_ARGUMENT,
  INVALID_ADDRESS: status.INVALID_ARGUMENT,
  HELLO_TIMEOUT: status.DEADLINE_EXCEEDED,
  SESSION_REPLACED: status.ABORTED,
  AUTHORIZATION_REFUSED: status.PERMISSION_DENIED,
  RATE_LIMITED: status.RESOURCE_EXHAUSTED,
  NOT_FOUND: status.NOT_FOUND,
  DRAINING: status.UNAVAILABLE,
  UNAVAILABLE: status.UNAVAILABLE,
};

/** Translates an error for the wire. Unexpected errors become INTERNAL; their details stay in the log. */
export function toServiceError(error: unknown): Partial<ServiceError> {
  const known = error instanceof ComputeError ? error : new ComputeError("INTERNAL", undefined, { cause: error });
  const metadata = new Metadata();
  metadata.set(ERROR_METADATA, known.code);
  return { code: STATUS[known.code] ?? status.INTERNAL, details: known.message, metadata };
}
