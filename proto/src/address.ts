import { keccak256 } from "#crypto";
import { fromHex, type Hex, toHex } from "./bytes.ts";

/** An EVM address: `0x` with EIP-55 casing. */
export type Address = Hex;

/** The text is not an address. The message says why. */
export class AddressError extends Error {
  override readonly name = "AddressError";
}

/** The zero address, which nobody owns: it is never credited. */
export const ZERO_ADDRESS: Address = "0x0000000000000000000000000000000000000000";

/** EIP-55: a letter is upper-case where the keccak digest of the lower-case digits has a nibble of 8 or more. */
function withChecksum(digits: string): Address {
  const digest = keccak256(new TextEncoder().encode(digits));
  let text = "0x";
  for (let i = 0; i < digits.length; i++) {
    const nibble = (digest[i >> 1]! >> (i % 2 === 0 ? 4 : 0)) & 15;
    text += nibble >= 8 ? digits[i]!.toUpperCase() : digits[i];
  }
  return text as Address;
}

/**
 * Parses `0x…`, or XDC's `xdc…` with the same casing rule. Digits of mixed case must have the right checksum. Throws {@link AddressError}.
 */
export function parseAddress(text: string): Address {
  const trimmed = text.trim();
  const prefix = /^(?:0x|xdc)/i.exec(trimmed)?.[0];
  if (prefix === undefined) throw new AddressError("an address starts with 0x or xdc");
  const digits = trimmed.slice(prefix.length);
  const stranger = /[^0-9a-f]/i.exec(digits)?.[0];
  if (stranger !== undefined) throw new AddressError(`"${stranger}" is not a hex digit`);
  if (digits.length !== 40) {
    throw new AddressError(`an address has 40 hex digits after its prefix, this one has ${digits.length}`);
  }
  const lower = digits.toLowerCase();
  const address = withChecksum(lower);
  if (digits !== lower && digits !== digits.toUpperCase() && digits !== address.slice(2)) {
    throw new AddressError("the checksum (the casing of its letters) is wrong: the address was mistyped somewhere");
  }
  return address;
}

/** The address in XDC's notation: `xdc` and the same digits. */
export function toXdcAddress(address: Address): string {
  return `xdc${address.slice(2)}`;
}

/** The 20 bytes of an address. */
export function addressBytes(address: Address): Uint8Array {
  return fromHex(address);
}

/** The address of 20 bytes. Throws {@link AddressError} for any other length. */
export function addressFromBytes(bytes: Uint8Array): Address {
  if (bytes.length !== 20) throw new AddressError(`an address has 20 bytes, this one has ${bytes.length}`);
  return withChecksum(toHex(bytes).slice(2));
}
