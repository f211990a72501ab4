import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { concat, equal, fromHex, toHex } from "./bytes.ts";

describe("bytes", () => {
  it("are written in lower case and read in either", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 70 }), (bytes) => {
        const hex = toHex(bytes);
        expect(hex).toBe(`0x${Buffer.from(bytes).toString("hex")}`);
        expect(fromHex(hex)).toEqual(bytes);
        expect(fromHex(`0x${hex.slice(2).toUpperCase()}`)).toEqual(bytes);
      }),
    );
  });

  it.each([
    "",
    "0",
    "x0",
    "0X00",
    "00",
    "0x0",
    "0x000",
    "0x0g",
    "0xg0",
    "0x 0",
    "0x0\u0130",
    "0x\uff11\uff11",
    "xdc00",
  ])("are not read from %j", (text) => {
    expect(() => fromHex(text)).toThrow(TypeError);
  });

  it("are joined and compared", () => {
    expect(concat()).toEqual(new Uint8Array());
    expect(concat(Uint8Array.of(1), new Uint8Array(), Uint8Array.of(2, 3))).toEqual(Uint8Array.of(1, 2, 3));
    expect(equal(Uint8Array.of(1, 2), Uint8Array.of(1, 2))).toBe(true);
    expect(equal(Uint8Array.of(1, 2), Uint8Array.of(1, 3))).toBe(false);
    expect(equal(Uint8Array.of(1, 2), Uint8Array.of(1))).toBe(false);
  });
});
