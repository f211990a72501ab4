import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { toHex } from "./bytes.ts";
import * as node from "./crypto.node.ts";
import * as web from "./crypto.web.ts";

const key = fc.uint8Array({ minLength: 16, maxLength: 16 });

describe.each([
  ["in Node", node],
  ["in browsers", web],
])("crypto %s", (_, crypto) => {
  it("matches SHA-256 (FIPS 180-2, appendix B)", () => {
    const digest = "0xba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    expect(toHex(crypto.sha256(new TextEncoder().encode("abc")))).toBe(digest);
    expect(toHex(crypto.sha256(Uint8Array.of(97), new Uint8Array(), Uint8Array.of(98, 99)))).toBe(digest);
  });

  it("matches Ethereum's Keccak-256 of no bytes", () => {
    const digest = "0xc5d2460186f7233c927e7db2dcc703c0e500b653ca82273b7bfad8045d85a470";
    expect(toHex(crypto.keccak256(new Uint8Array()))).toBe(digest);
  });

  it("matches AES-128 (FIPS 197, zero key and block)", () => {
    expect(toHex(crypto.keystream(new Uint8Array(16), 16))).toBe("0x66e94bd4ef8a2c3b884cfa59ca342b2e");
  });
});

describe("crypto in Node and in browsers", () => {
  it("makes the same Keccak-256, at every length of the last block", () => {
    for (let length = 0; length <= 3 * 136 + 1; length++) {
      const input = node.keystream(new Uint8Array(16), 416).subarray(0, length);
      expect(toHex(node.keccak256(input)), `${length} bytes`).toBe(toHex(web.keccak256(input)));
    }
    expect(() => node.keccak256(new Uint8Array(70_000))).toThrow(RangeError);
  });

  it("makes the same digests", () => {
    const parts = fc.array(fc.uint8Array({ maxLength: 700 }), { maxLength: 4 });
    fc.assert(
      fc.property(parts, (all) => {
        expect(toHex(web.sha256(...all))).toBe(toHex(node.sha256(...all)));
      }),
    );
  });

  it("makes the same keystream, whole and in pieces", () => {
    fc.assert(
      fc.property(key, fc.array(fc.nat(40), { minLength: 1, maxLength: 6 }), (bytes, blocks) => {
        const length = 16 * blocks.reduce((sum, count) => sum + count, 0);
        const whole = toHex(node.keystream(bytes, length));
        expect(toHex(web.keystream(bytes, length))).toBe(whole);
        for (const crypto of [node, web]) {
          const next = crypto.openKeystream(bytes);
          const pieces = blocks.map((count) => toHex(next(16 * count)).slice(2));
          expect(`0x${pieces.join("")}`).toBe(whole);
        }
      }),
    );
  });

  it("opens a keystream at any offset", () => {
    const key = new Uint8Array(16).fill(9);
    for (const crypto of [node, web]) {
      const expected = toHex(crypto.keystream(key, 4096).subarray(1600, 2048));
      expect(toHex(crypto.openKeystream(key, 1600)(448))).toBe(expected);
    }
  });

  it("makes the same long keystream", () => {
    const bytes = new Uint8Array(16).fill(9);
    const length = (2 << 20) + 48;
    expect(node.sha256(node.keystream(bytes, length))).toEqual(node.sha256(web.keystream(bytes, length)));
  });
});
