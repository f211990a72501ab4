interface Failure {
  readonly code?: string;
  readonly message?: string;
  readonly shortMessage?: string;
  readonly info?: { readonly error?: { readonly message?: string } };
  readonly error?: { readonly message?: string };
}

/**
 * The reason of an error, safe to show and to log. From ethers' errors it takes the short message or the RPC's own words: the
 * long message has the RPC's address, which may contain a key.
 */
export function reasonOf(error: unknown): string {
  const { code, message, shortMessage, info, error: inner } = error as Failure;
  const wrapped = code === "UNKNOWN_ERROR" || code === "CALL_EXCEPTION" ? inner : undefined;
  return (info?.error ?? wrapped)?.message ?? shortMessage ?? message ?? String(error);
}
