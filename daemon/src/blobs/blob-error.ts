/**
 * Why this node cannot have a blob:
 * - `NOT_FOUND`: the coordinator has none with this digest.
 * - `REFUSED`: the coordinator does not serve the request.
 * - `TOO_LARGE`: it has more bytes than a node fetches.
 * - `DAMAGED`: the coordinator sent other content, several times.
 */
export type BlobErrorCode = "NOT_FOUND" | "REFUSED" | "TOO_LARGE" | "DAMAGED";

/** This node cannot have a blob that a task names. */
export class BlobError extends Error {
  override readonly name = "BlobError";
  readonly code: BlobErrorCode;

  constructor(code: BlobErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}
