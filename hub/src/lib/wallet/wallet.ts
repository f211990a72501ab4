import type { Address, Hex, nodeAuthorizationTypedData } from "@proof-of-compute/proto";

/** Typed data of EIP-712: a domain, the types, and the value to sign. */
export type TypedData = ReturnType<typeof nodeAuthorizationTypedData>;

/** Holds one account's key and signs with it. */
export interface Wallet {
  /** How to find it again after a reload: `local`, or the reverse domain name that an injected wallet announces. */
  readonly id: string;
  readonly name: string;
  readonly address: Address;
  /** Signs a text by EIP-191 (`personal_sign`). Rejects when the owner declines. */
  sign(message: string): Promise<Hex>;
  /** Signs typed data by EIP-712, on the domain's chain. Rejects when the owner declines. */
  signTypedData(data: TypedData): Promise<Hex>;
  /** Reports changes of the account (`null`: disconnected) until the returned function is called. */
  watch(onAccount: (address: Address | null) => void): () => void;
}

/** The wallet's owner declined. */
export class DeclinedError extends Error {
  override readonly name = "DeclinedError";
}

/** The wallet failed. The message comes from the wallet. */
export class WalletError extends Error {
  override readonly name = "WalletError";
  /** As EIP-1193 and its successors define it, if the wallet gave one. */
  readonly code: number | undefined;

  constructor(message: string, code: number | undefined, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}
