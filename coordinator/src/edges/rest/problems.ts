import type { Address } from "@proof-of-compute/proto";
import { AddressError, parseAddress } from "@proof-of-compute/proto";
import type { FastifyError, FastifyReply, FastifyRequest } from "fastify";
import { hasZodFastifySchemaValidationErrors } from "fastify-type-provider-zod";
import { ComputeError, ERRORS, type ErrorCode } from "../../domain/errors.ts";
import type { Problem } from "./schemas.ts";

/** The HTTP status of every code, including those that only the node stream uses. */
export const STATUS: Record<ErrorCode, number> = {
  INVALID_REQUEST: 400,
  INVALID_ADDRESS: 400,
  NOT_FOUND: 404,
  UNAUTHENTICATED: 401,
  FORBIDDEN: 403,
  SIGN_IN_REFUSED: 401,
  CROSS_SITE: 403,
  IDEMPOTENCY_MISMATCH: 422,
  CONFLICT: 409,
  NOT_CANCELLABLE: 409,
  NO_RESULT: 404,
  TOO_LARGE: 413,
  UNSUPPORTED_MEDIA_TYPE: 415,
  RATE_LIMITED: 429,
  QUEUE_FULL: 429,
  DRAINING: 503,
  UNAVAILABLE: 503,
  INTERNAL: 500,
  BAD_SIGNATURE: 401,
  AUDIENCE_REFUSED: 403,
  PROTOCOL_VIOLATION: 400,
  HELLO_TIMEOUT: 408,
  SESSION_REPLACED: 409,
  AUTHORIZATION_REFUSED: 403,
  STORE_BOUND_ELSEWHERE: 500,
  SETTLEMENT_STOPPED: 503,
};

/** Content type of every error. */
export const PROBLEM_JSON = "application/problem+json";

/** Seconds to wait before the next attempt, for codes that pass with time. */
const RETRY_AFTER_SECONDS: Partial<Record<ErrorCode, number>> = { QUEUE_FULL: 10, DRAINING: 5, UNAVAILABLE: 5 };

/** The problem document of an error; its `instance` is the request's id. */
export function problem(code: ErrorCode, detail: string, requestId: string): Problem {
  return {
    type: `/problems/${code}`,
    title: ERRORS[code],
    status: STATUS[code],
    detail,
    code,
    instance: `urn:uuid:${requestId}`,
  };
}

/** Parses a wallet in any notation. Throws INVALID_ADDRESS that says what is wrong. */
export function readWallet(text: string): Address {
  try {
    return parseAddress(text);
  } catch (error) {
    if (error instanceof AddressError) throw new ComputeError("INVALID_ADDRESS", error.message, { cause: error });
    throw error;
  }
}

/** Our codes for requests that Fastify refuses before a handler sees them, by HTTP status. */
const FRAMEWORK_CODES: Record<number, ErrorCode> = {
  404: "NOT_FOUND",
  413: "TOO_LARGE",
  415: "UNSUPPORTED_MEDIA_TYPE",
  429: "RATE_LIMITED",
  503: "UNAVAILABLE",
};

/** The code of any thrown value, and a detail that may be shown. */
export function classify(error: unknown): { readonly code: ErrorCode; readonly detail: string } {
  if (error instanceof ComputeError) return { code: error.code, detail: error.message };
  if (hasZodFastifySchemaValidationErrors(error)) {
    const where = error.validationContext ?? "request";
    const issues = error.validation.map(({ instancePath, message }) => {
      const field = instancePath.replace(/^\//, "").replaceAll("/", ".");
      return `${where}${field && `.${field}`}: ${message}`;
    });
    return { code: "INVALID_REQUEST", detail: issues.join("; ") };
  }
  const { statusCode, message } = error as Partial<FastifyError>;
  if (statusCode !== undefined && statusCode >= 400 && statusCode < 500) {
    return { code: FRAMEWORK_CODES[statusCode] ?? "INVALID_REQUEST", detail: message ?? ERRORS.INVALID_REQUEST };
  }
  return { code: "INTERNAL", detail: ERRORS.INTERNAL };
}

/** Fastify's error handler: answers every error as a problem document, and logs server errors. */
export function sendProblem(error: unknown, request: FastifyRequest, reply: FastifyReply): FastifyReply {
  const { code, detail } = classify(error);
  const status = STATUS[code];
  if (status >= 500) request.log[code === "INTERNAL" ? "error" : "warn"]({ err: error, code }, "request failed");
  const retryAfter = RETRY_AFTER_SECONDS[code];
  if (retryAfter !== undefined) reply.header("retry-after", retryAfter);
  return (
    reply
      .code(status)
      .type(PROBLEM_JSON)
      // Fastify's own errors pass no hook that sets it.
      .header("x-request-id", request.id)
      .header("cache-control", "no-store")
      .serializer((payload: unknown) => JSON.stringify(payload))
      .send(problem(code, detail, request.id))
  );
}
