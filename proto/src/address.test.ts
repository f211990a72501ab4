import { getAddress } from "ethers";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { AddressError, addressBytes, addressFromBytes, parseAddress, toXdcAddress, ZERO_ADDRESS } from "./address.ts";

const ADDRESS = "0x71C7656EC7ab88b098defB751B7401B5f6d8976F";
const wallet = fc.uint8Array({ minLength: 20, maxLength: 20 });

describe("address", () => {
  it("is cased as in EIP-55", () => {
    fc.assert(
      fc.property(wallet, (bytes) => {
        const address = addressFromBytes(bytes);
        expect(address).toBe(getAddress(address.toLowerCase()));
        expect(addressBytes(address)).toEqual(bytes);
      }),
    );
  });

  it("round-trips through every notation", () => {
    fc.assert(
      fc.property(wallet, (bytes) => {
        const address = addressFromBytes(bytes);
        const digits = address.slice(2);
        const xdc = toXdcAddress(address);
        expect(xdc).toBe(`xdc${digits}`);
        for (const text of [address, xdc, ` ${xdc}\n`, xdc.toLowerCase(), `XDC${digits.toUpperCase()}`]) {
          expect(parseAddress(text)).toBe(address);
        }
      }),
    );
  });

  it("refuses a letter with the wrong casing in both notations", () => {
    fc.assert(
      fc.property(wallet, fc.nat(), (bytes, pick) => {
        const address = addressFromBytes(bytes);
        const letters = [...address.slice(2)].flatMap((digit, at) => (/[a-f]/i.test(digit) ? [at + 2] : []));
        fc.pre(letters.length > 2);
        const at = letters[pick % letters.length]!;
        const letter = address[at]!;
        const other = letter === letter.toLowerCase() ? letter.toUpperCase() : letter.toLowerCase();
        const wrong = address.slice(0, at) + other + address.slice(at + 1);
        // Flipping one letter may leave a single case, which has no checksum.
        fc.pre(/[a-f]/.test(wrong.slice(2)) && /[A-F]/.test(wrong.slice(2)));
        expect(() => parseAddress(wrong)).toThrow(/checksum/);
        expect(() => parseAddress(`xdc${wrong.slice(2)}`)).toThrow(/checksum/);
      }),
    );
  });

  it.each([
    ["71C7656EC7ab88b098defB751B7401B5f6d8976F", /starts with 0x or xdc/],
    ["", /starts with 0x or xdc/],
    ["0x71C7", /40 hex digits.*has 4/],
    [`${ADDRESS}00`, /40 hex digits.*has 42/],
    [`${ADDRESS.slice(0, -1)}g`, /"g" is not a hex digit/],
    ["xdc0x71C7656EC7ab88b098defB751B7401B5f6d8976F", /"x" is not a hex digit/],
  ])("says what is wrong with %j", (text, message) => {
    expect(() => parseAddress(text)).toThrow(AddressError);
    expect(() => parseAddress(text)).toThrow(message);
  });

  it("takes 20 bytes only", () => {
    expect(addressFromBytes(new Uint8Array(20))).toBe(ZERO_ADDRESS);
    expect(() => addressFromBytes(new Uint8Array(19))).toThrow(AddressError);
  });
});
