/** A problem that the reader of its message can solve; shown without a stack. */
export class ReconcileError extends Error {
  override readonly name = "ReconcileError";
}
