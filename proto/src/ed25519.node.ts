import { createPublicKey, verify } from "node:crypto";

/** Whether the curve equation of RFC 8032 holds: encode(S B - k A) = R. The caller has checked lengths and ranges. */
export function ed25519Equation(publicKey: Uint8Array, message: Uint8Array, signature: Uint8Array): boolean {
  const x = Buffer.from(publicKey).toString("base64url");
  return verify(null, message, createPublicKey({ key: { kty: "OKP", crv: "Ed25519", x }, format: "jwk" }), signature);
}
