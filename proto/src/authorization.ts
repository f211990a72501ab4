import { verifyTypedData } from "ethers";
import { type Address, parseAddress } from "./address.ts";
import type { Hex } from "./bytes.ts";

/** A wallet's permission for a node to earn for it, on one contract. */
export interface NodeAuthorizationData {
  /** The node's ed25519 public key, 32 bytes. */
  readonly node: Hex;
  readonly wallet: Address;
  /** Seconds since 1970, wallet's clock. */
  readonly issuedAt: number | bigint;
  /** Seconds since 1970. */
  readonly expiresAt: number | bigint;
  readonly chainId: number | bigint;
  /** The contract ProofOfCompute on that chain. */
  readonly contract: Address;
}

/** The EIP-712 typed data of an authorization, in the form of ethers' `signTypedData`. */
export function nodeAuthorizationTypedData(data: NodeAuthorizationData) {
  return {
    domain: { name: "ProofOfCompute", version: "1", chainId: data.chainId, verifyingContract: data.contract },
    types: {
      NodeAuthorization: [
        { name: "node", type: "bytes32" },
        { name: "wallet", type: "address" },
        { name: "issuedAt", type: "uint64" },
        { name: "expiresAt", type: "uint64" },
      ],
    },
    value: { node: data.node, wallet: data.wallet, issuedAt: data.issuedAt, expiresAt: data.expiresAt },
  };
}

/**
 * Recovers the wallet that signed an authorization. The caller must compare it with `data.wallet` and check the dates. Throws
 * for a malformed signature.
 */
export function recoverNodeAuthorization(data: NodeAuthorizationData, signature: Hex): Address {
  const { domain, types, value } = nodeAuthorizationTypedData(data);
  return parseAddress(verifyTypedData(domain, types, value, signature));
}
