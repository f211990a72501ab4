import type { ErrorCode } from "../../domain/errors.ts";
import { PROBLEM_JSON, problem } from "./problems.ts";

interface Refusal {
  readonly status: number;
  readonly reason: string;
  readonly code: ErrorCode;
  readonly detail: string;
}

const NOT_HTTP: Refusal = {
  status: 400,
  reason: "Bad Request",
  code: "INVALID_REQUEST",
  detail: "the request is not HTTP",
};

/** Refusals of requests that never reach a route, by the error code of Node's HTTP server. */
const REFUSALS: Readonly<Record<string, Refusal>> = {
  HPE_HEADER_OVERFLOW: {
    status: 431,
    reason: "Request Header Fields Too Large",
    code: "TOO_LARGE",
    detail: "the request line and headers are larger than the limit",
  },
  ERR_HTTP_REQUEST_TIMEOUT: {
    status: 408,
    reason: "Request Timeout",
    code: "INVALID_REQUEST",
    detail: "the request did not arrive in time; send it again",
  },
};

/** The whole response to a request that could not be read, as bytes for its socket. */
export function unreadableResponse(errorCode: string | undefined, requestId: string): string {
  const { status, reason, code, detail } = REFUSALS[errorCode ?? ""] ?? NOT_HTTP;
  const body = JSON.stringify({ ...problem(code, detail, requestId), status });
  const headers = [`content-type: ${PROBLEM_JSON}`, `content-length: ${Buffer.byteLength(body)}`, "connection: close"];
  return `HTTP/1.1 ${status} ${reason}\r\n${headers.join("\r\n")}\r\n\r\n${body}`;
}
