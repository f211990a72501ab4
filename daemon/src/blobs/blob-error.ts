/**
 * Why content cannot be had:
 * - `NOT_FOUND`: the coordinator that assigned the task has none of that digest.
 * - `REFUSED`: the coordinator does not serve the request at all.
 * - `TOO_LARGE`: it has more bytes than this node fetches.
 * - `DAMAGED`: what came did not have the digest, several times.
 */
export type BlobErrorCode = "NOT_FOUND" | "REFUSED" | "TOO_LARGE" | "DAMAGED";

/** Content that a task names and that this node cannot have. */
export class BlobError extends Error {
  override readonly name = "BlobError";
  readonly code: BlobErrorCode;

  constructor(code: BlobErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}
