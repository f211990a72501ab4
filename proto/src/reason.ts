interface Failure {
  readonly code?: string;
  readonly message?: string;
  readonly shortMessage?: string;
  readonly info?: { readonly error?: { readonly message?: string } };
  readonly error?: { readonly message?: string };
}

/**
 * Why something failed, as it may be shown. Of ethers' errors only the short message or what the RPC itself said: the long
 * message has the RPC's address, and with it its key.
 */
export function reasonOf(error: unknown): string {
  const { code, message, shortMessage, info, error: inner } = error as Failure;
  const wrapped = code === "UNKNOWN_ERROR" || code === "CALL_EXCEPTION" ? inner : undefined;
  return (info?.error ?? wrapped)?.message ?? shortMessage ?? message ?? String(error);
}
