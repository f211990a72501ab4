import { createPublicKey, type KeyObject } from "node:crypto";
import {
  type Address,
  addressFromBytes,
  helloMessage,
  isSoundPublicKey,
  recoverNodeAuthorization,
  toHex,
  ZERO_ADDRESS,
} from "@proof-of-compute/proto";
import { type Hello, HelloTerms } from "@proof-of-compute/proto/node";
import { ComputeError } from "../../domain/errors.ts";
import type { CoordinatorKinds } from "../../kinds/index.ts";
import type { Offer } from "../../services/fleet/offer.ts";
import { verifySignature } from "../../util/verify-signature.ts";
import { MAX_RUNNING, MAX_SLOTS, MAX_TERMS_BYTES } from "./limits.ts";
import { type OfferTerms, readOffers } from "./offers.ts";

export interface HandshakeInit {
  /** Names that nodes may dial. */
  readonly audiences: ReadonlySet<string>;
  readonly kinds: CoordinatorKinds;
  /** The contract that a NodeAuthorization must name; undefined: none can be checked. */
  readonly contract: { readonly chainId: number; readonly address: Address } | undefined;
  readonly requireAuthorization: boolean;
  /** Seconds since 1970. */
  readonly nowSeconds: () => number;
}

/**
 * Checks a Hello against the challenge that it answers, cheap checks first. Throws the error that closes the stream:
 * PROTOCOL_VIOLATION, AUDIENCE_REFUSED, BAD_SIGNATURE, INVALID_ADDRESS or AUTHORIZATION_REFUSED.
 */
export async function checkHello(
  hello: Hello,
  nonce: Uint8Array,
  init: HandshakeInit,
): Promise<{ offer: Offer; terms: OfferTerms; key: KeyObject }> {
  const { nodeId, audience, terms: termsBytes, signature } = hello;
  if (nodeId.length !== 32) throw violation("node_id has 32 bytes");
  if (termsBytes.length > MAX_TERMS_BYTES) throw violation("terms are too long");
  if (!init.audiences.has(audience.toLowerCase())) {
    throw new ComputeError("AUDIENCE_REFUSED", `"${audience.slice(0, 256)}" is not a name of this coordinator`);
  }
  const key = publicKey(nodeId);
  const message = helloMessage({ nonce, audience, nodeId, terms: termsBytes });
  if (!(await verifySignature(message, key, signature))) throw new ComputeError("BAD_SIGNATURE");
  const terms = decodeTerms(termsBytes);
  return { offer: readOffer(nodeId, terms, init), terms, key };
}

function decodeTerms(bytes: Uint8Array): HelloTerms {
  try {
    return HelloTerms.decode(bytes);
  } catch (cause) {
    throw new ComputeError("PROTOCOL_VIOLATION", "terms are not a HelloTerms message", { cause });
  }
}

function readOffer(nodeId: Uint8Array, terms: HelloTerms, init: HandshakeInit): Offer {
  if (terms.wallet.length !== 20) throw new ComputeError("INVALID_ADDRESS", "wallet has 20 bytes");
  const wallet = addressFromBytes(terms.wallet);
  if (wallet === ZERO_ADDRESS) throw new ComputeError("INVALID_ADDRESS", "the zero wallet cannot be credited");
  if (terms.slots < 1 || terms.slots > MAX_SLOTS) throw violation(`slots are 1 to ${MAX_SLOTS}`);
  if (terms.runningAssignmentIds.length > MAX_RUNNING) throw violation(`at most ${MAX_RUNNING} running assignments`);
  const offers = readOffers(terms, terms.offers, init.kinds.names);
  if (offers.length === 0) throw violation("no kind of task that this coordinator knows");
  const { hardware } = terms;
  return {
    nodeId: toHex(nodeId),
    wallet,
    version: terms.version.slice(0, 64),
    slots: terms.slots,
    offers,
    hardware: {
      cpuModel: (hardware?.cpuModel ?? "").slice(0, 128),
      cpuCores: hardware?.cpuCores ?? 0,
      memoryBytes: Number(hardware?.memoryBytes ?? 0n),
      platform: (hardware?.platform ?? "").slice(0, 32),
    },
    confirmed: checkAuthorization(nodeId, wallet, terms, init),
    runningAssignmentIds: terms.runningAssignmentIds.map((id) => {
      if (id.length !== 16) throw violation("assignment ids have 16 bytes");
      return toHex(id);
    }),
  };
}

function checkAuthorization(nodeId: Uint8Array, wallet: Address, terms: HelloTerms, init: HandshakeInit): boolean {
  const { authorization } = terms;
  if (!authorization) {
    if (init.requireAuthorization)
      throw new ComputeError("AUTHORIZATION_REFUSED", "this network requires a NodeAuthorization");
    return false;
  }
  if (!init.contract) {
    if (init.requireAuthorization)
      throw new ComputeError("AUTHORIZATION_REFUSED", "no chain is configured here to check it against");
    return false;
  }
  const { issuedAt, expiresAt } = authorization;
  const now = BigInt(init.nowSeconds());
  if (expiresAt <= now) throw new ComputeError("AUTHORIZATION_REFUSED", "the NodeAuthorization has expired");
  const { chainId, address: contract } = init.contract;
  let signer: Address | undefined;
  try {
    const data = { node: toHex(nodeId), wallet, issuedAt, expiresAt, chainId: BigInt(chainId), contract };
    signer = recoverNodeAuthorization(data, toHex(authorization.signature));
  } catch {
    signer = undefined;
  }
  if (signer !== wallet)
    throw new ComputeError("AUTHORIZATION_REFUSED", "the NodeAuthorization is not signed by the wallet");
  return true;
}

function publicKey(raw: Uint8Array): KeyObject {
  // Anybody can make signatures that hold under a key of small order, so receipts under it would prove nothing.
  if (!isSoundPublicKey(raw)) throw new ComputeError("BAD_SIGNATURE", "node_id is not a sound ed25519 public key");
  try {
    const x = Buffer.from(raw).toString("base64url");
    return createPublicKey({ key: { kty: "OKP", crv: "Ed25519", x }, format: "jwk" });
  } catch (cause) {
    throw new ComputeError("BAD_SIGNATURE", "node_id is not an ed25519 public key", { cause });
  }
}

function violation(detail: string): ComputeError {
  return new ComputeError("PROTOCOL_VIOLATION", detail);
}
