import type { Address } from "@proof-of-compute/proto";

/** What a wallet signs to sign in, by EIP-4361 (Sign-In with Ethereum). Times in ms since 1970. */
export interface SignIn {
  /** Scheme, host and port of this page. */
  readonly origin: string;
  readonly address: Address;
  readonly chainId: number;
  readonly nonce: string;
  readonly issuedAt: number;
  readonly expiresAt: number;
}

/** Writes the text of EIP-4361; the coordinator parses it with `siwe`, which does not bundle for browsers. */
export function signInMessage({ origin, address, chainId, nonce, issuedAt, expiresAt }: SignIn): string {
  return [
    `${new URL(origin).host} wants you to sign in with your Ethereum account:`,
    address,
    "",
    "Sign in to Proof of Compute. This costs nothing and moves nothing.",
    "",
    `URI: ${origin}`,
    "Version: 1",
    `Chain ID: ${chainId}`,
    `Nonce: ${nonce}`,
    `Issued At: ${new Date(issuedAt).toISOString()}`,
    `Expiration Time: ${new Date(expiresAt).toISOString()}`,
  ].join("\n");
}
