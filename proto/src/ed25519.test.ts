import { createHash, generateKeyPairSync, sign } from "node:crypto";
import { ed25519 } from "@noble/curves/ed25519.js";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { concat, fromHex, toHex } from "./bytes.ts";
import * as node from "./ed25519.node.ts";
import { isSoundPublicKey, verifySignature } from "./ed25519.ts";
import * as web from "./ed25519.web.ts";

const { Point } = ed25519;
const ORDER = Point.Fn.ORDER;
const PRIME = Point.Fp.ORDER;

function encode(value: bigint): Uint8Array {
  return fromHex(`0x${value.toString(16).padStart(64, "0")}`).toReversed();
}

function decode(bytes: Uint8Array): bigint {
  return BigInt(toHex(bytes.toReversed()));
}

const { privateKey, publicKey } = generateKeyPairSync("ed25519");
const key = new Uint8Array(Buffer.from(publicKey.export({ format: "jwk" }).x!, "base64url"));
const message = new TextEncoder().encode("a message");
const signature = new Uint8Array(sign(null, message, privateKey));

/** A point of order 8, and its multiples: all points of small order. */
const torsion = Point.fromHex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05");
const smallOrder = Array.from({ length: 8 }, (_, i) => (i === 0 ? Point.ZERO : torsion.multiplyUnsafe(BigInt(i))));

describe("ed25519", () => {
  it("accepts a signature, and nothing that differs in a bit", () => {
    expect(verifySignature(key, message, signature)).toBe(true);
    fc.assert(
      fc.property(
        fc.nat(32 * 8 - 1),
        fc.nat(64 * 8 - 1),
        fc.nat(message.length * 8 - 1),
        (inKey, inSignature, inMessage) => {
          const flipped = (bytes: Uint8Array, bit: number) =>
            bytes.map((byte, at) => (at === bit >> 3 ? byte ^ (1 << (bit & 7)) : byte));
          expect(verifySignature(flipped(key, inKey), message, signature)).toBe(false);
          expect(verifySignature(key, message, flipped(signature, inSignature))).toBe(false);
          expect(verifySignature(key, flipped(message, inMessage), signature)).toBe(false);
        },
      ),
    );
  });

  it("refuses every key of small order in every encoding", () => {
    expect(new Set(smallOrder.map((point) => point.toHex())).size).toBe(8);
    for (const point of smallOrder) {
      const bytes = point.toBytes();
      const y = decode(bytes) % 2n ** 255n;
      for (const written of [y, y + 2n ** 255n, ...(y < 19n ? [y + PRIME, y + PRIME + 2n ** 255n] : [])]) {
        expect(isSoundPublicKey(encode(written))).toBe(false);
        // The forgery that it allows: R = A, S = 0 holds for every message whose hash is a multiple of 8.
        expect(verifySignature(encode(written), message, concat(encode(y), new Uint8Array(32)))).toBe(false);
      }
    }
  });

  it("refuses keys outside the field, or of another length", () => {
    for (let y = PRIME; y < 2n ** 255n; y++) expect(isSoundPublicKey(encode(y))).toBe(false);
    expect(isSoundPublicKey(key)).toBe(true);
    expect(isSoundPublicKey(key.subarray(1))).toBe(false);
  });

  it("refuses S beyond the order, which would be a second signature of the same message", () => {
    const s = decode(signature.subarray(32));
    for (let other = s + ORDER; other < 2n ** 256n; other += ORDER) {
      const malleated = concat(signature.subarray(0, 32), encode(other));
      expect(verifySignature(key, message, malleated)).toBe(false);
      // The coordinator checks frames with OpenSSL directly.
      expect(node.ed25519Equation(key, message, malleated)).toBe(false);
    }
  });

  it("is the same in Node and in browsers, torsion in key and R included", () => {
    const secret = fc.bigInt({ min: 1n, max: ORDER - 1n });
    fc.assert(
      fc.property(secret, secret, fc.nat(7), fc.nat(7), (a, r, inKey, inR) => {
        const A = Point.BASE.multiply(a).add(smallOrder[inKey]!).toBytes();
        const R = Point.BASE.multiply(r).add(smallOrder[inR]!).toBytes();
        const hash = createHash("sha512").update(R).update(A).update(message).digest();
        const k = Point.Fn.create(decode(hash));
        const S = encode(Point.Fn.create(r + k * a));
        const made = concat(R, S);
        expect(web.ed25519Equation(A, message, made)).toBe(node.ed25519Equation(A, message, made));
        if (inKey === 0 && inR === 0) expect(verifySignature(A, message, made)).toBe(true);
      }),
    );
  });

  it("is the same in Node and in browsers for keys that are not a point", () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 32, maxLength: 32 }), (bytes) => {
        expect(web.ed25519Equation(bytes, message, signature)).toBe(false);
        expect(node.ed25519Equation(bytes, message, signature)).toBe(false);
      }),
    );
  });
});
