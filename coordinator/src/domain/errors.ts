/** Every error that crosses an edge, with what a reader should do. REST and gRPC statuses are assigned by the edges. */
export const ERRORS = {
  INVALID_REQUEST: "The request does not fit its schema; `detail` names the field.",
  INVALID_ADDRESS: "Not an address: 40 hex digits after 0x or xdc, with a right EIP-55 checksum if mixed case.",
  NOT_FOUND: "There is no such thing here; check the identifier.",
  UNAUTHENTICATED: "Sign in with your wallet first.",
  FORBIDDEN: "This belongs to another wallet; sign in with that one.",
  SIGN_IN_REFUSED: "The signed message is not the one that was asked for, or it is out of date; sign in again.",
  CROSS_SITE: "A request from another site was refused; use the hub's own origin.",
  IDEMPOTENCY_MISMATCH: "The same Idempotency-Key came with another body before; use a new key.",
  CONFLICT: "The state changed in the meantime; read it again.",
  NOT_CANCELLABLE: "The task has ended already.",
  NO_RESULT: "The task has no result, or it is kept no longer.",
  TOO_LARGE: "The body is larger than the limit.",
  UNSUPPORTED_MEDIA_TYPE: "The body must be JSON, with content-type application/json.",
  RATE_LIMITED: "Too many requests; wait as Retry-After says.",
  QUEUE_FULL: "Too many tasks wait; submit again later.",
  DRAINING: "The coordinator shuts down; try again in a moment or another one.",
  UNAVAILABLE: "Something that this needs (store or chain) is away; try again later.",
  INTERNAL: "A fault of ours; the log of the coordinator has it under the request id.",
  BAD_SIGNATURE: "The signature does not fit the key and the bytes that docs/reference/protocol.md gives.",
  AUDIENCE_REFUSED:
    "The node dialled a name that is not this coordinator's; set GRPC_AUDIENCES here or --audience there.",
  PROTOCOL_VIOLATION: "The peer broke the protocol; `detail` says which rule.",
  HELLO_TIMEOUT: "No Hello came in time.",
  SESSION_REPLACED: "A newer session of the same node took over; one key must not run in two places.",
  AUTHORIZATION_REFUSED:
    "The NodeAuthorization is missing, expired, or not of this wallet; let the wallet sign a new one.",
  STORE_BOUND_ELSEWHERE: "The store belongs to another chain or contract; use another DATA_DIR or database.",
  SETTLEMENT_STOPPED:
    "The chain contradicts the store; nothing is sent until that is put right and the coordinator restarts.",
} as const;

export type ErrorCode = keyof typeof ERRORS;

/** An error with a stable code. `message` is for people and may name values; never secrets. */
export class ComputeError extends Error {
  override readonly name = "ComputeError";
  readonly code: ErrorCode;

  constructor(code: ErrorCode, message: string = ERRORS[code], options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}

/** Whether a change was refused because its task has moved on: it ended, or changed hands, or is gone. */
export function hasMovedOn(error: unknown): boolean {
  return error instanceof ComputeError && (error.code === "CONFLICT" || error.code === "NOT_FOUND");
}
