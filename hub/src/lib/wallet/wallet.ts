import type { Address, Hex } from "@proof-of-compute/proto";

/** Something that holds one account's key and signs with it. */
export interface Wallet {
  /** How to find it again after a reload: `local`, or the reverse domain name that an injected wallet announces. */
  readonly id: string;
  readonly name: string;
  readonly address: Address;
  /** Signs a text by EIP-191 (`personal_sign`). Rejects when its owner declines. */
  sign(message: string): Promise<Hex>;
  /** Reports another account (`null`: none any more) until the returned function is called. */
  watch(onAccount: (address: Address | null) => void): () => void;
}

/** The wallet's owner said no. */
export class DeclinedError extends Error {
  override readonly name = "DeclinedError";
}
