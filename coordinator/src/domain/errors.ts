/** Every error that crosses an edge, with what a reader should do. The edges assign REST and gRPC statuses. */
export const ERRORS = {
  INVALID_REQUEST: "The request does not fit its schema; `detail` names the field.",
  INVALID_ADDRESS:
    "Not an address: it needs 40 hex digits after 0x or xdc, and a valid EIP-55 checksum if it is mixed case.",
  NOT_FOUND: "Nothing has this identifier here; check it.",
  UNAUTHENTICATED: "Sign in with your wallet first.",
  FORBIDDEN: "This belongs to another wallet; sign in with that one.",
  SIGN_IN_REFUSED: "The signed message does not match the request, or it has expired; sign in again.",
  CROSS_SITE: "A request from another site was refused; use the hub's own origin.",
  IDEMPOTENCY_MISMATCH: "An earlier request used the same Idempotency-Key with another body; use a new key.",
  CONFLICT: "The state changed in the meantime; read it again.",
  NOT_CANCELLABLE: "The task has already ended.",
  NO_RESULT: "The task has no result, or its result has expired.",
  TOO_LARGE: "The body is larger than the limit.",
  UNSUPPORTED_MEDIA_TYPE: "The body must be JSON, with content-type application/json.",
  RATE_LIMITED: "Too many requests; wait as long as Retry-After says.",
  QUEUE_FULL: "Too many tasks are waiting; submit again later.",
  DRAINING: "The coordinator is shutting down; try again in a moment, or use another coordinator.",
  UNAVAILABLE: "The store or the chain is unavailable; try again later.",
  INTERNAL: "An internal error; the coordinator's log has it under the request id.",
  BAD_SIGNATURE: "The signature does not match the key and the bytes that docs/reference/protocol.md defines.",
  AUDIENCE_REFUSED:
    "The node dialled a name that is not this coordinator's; set GRPC_AUDIENCES here or --audience there.",
  PROTOCOL_VIOLATION: "The peer broke the protocol; `detail` names the rule.",
  HELLO_TIMEOUT: "The node sent no Hello in time.",
  SESSION_REPLACED: "A newer session of the same node replaced this one; run each key in one place only.",
  AUTHORIZATION_REFUSED:
    "The NodeAuthorization is missing, expired, or from another wallet; let the wallet sign a new one.",
  STORE_BOUND_ELSEWHERE: "The store belongs to another chain or contract; use another DATA_DIR or database.",
  SETTLEMENT_STOPPED:
    "The chain contradicts the store; settlement sends nothing until somebody resolves this and restarts the coordinator.",
} as const;

export type ErrorCode = keyof typeof ERRORS;

/** An error with a stable code. `message` is for people; it may contain values, never secrets. */
export class ComputeError extends Error {
  override readonly name = "ComputeError";
  readonly code: ErrorCode;

  constructor(code: ErrorCode, message: string = ERRORS[code], options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}

/** Whether a change was refused because its task has moved on: it ended, changed owner, or was removed. */
export function hasMovedOn(error: unknown): boolean {
  return error instanceof ComputeError && (error.code === "CONFLICT" || error.code === "NOT_FOUND");
}
