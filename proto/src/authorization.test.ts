import { TypedDataEncoder, Wallet } from "ethers";
import { describe, expect, it } from "vitest";
import { parseAddress } from "./address.ts";
import { nodeAuthorizationTypedData, recoverNodeAuthorization } from "./authorization.ts";
import type { Hex } from "./bytes.ts";

const wallet = new Wallet(`0x${"11".repeat(32)}`);
const data = {
  node: `0x${"22".repeat(32)}`,
  wallet: parseAddress(wallet.address),
  issuedAt: 1_795_305_600,
  expiresAt: 1_826_841_600n,
  chainId: 51,
  contract: parseAddress("0x71C7656EC7ab88b098defB751B7401B5f6d8976F"),
} as const;

async function signature(): Promise<Hex> {
  const { domain, types, value } = nodeAuthorizationTypedData(data);
  return (await wallet.signTypedData(domain, types, value)) as Hex;
}

describe("NodeAuthorization", () => {
  it("has the type that the protocol names", () => {
    const encoder = TypedDataEncoder.from(nodeAuthorizationTypedData(data).types);
    expect(encoder.encodeType("NodeAuthorization")).toBe(
      "NodeAuthorization(bytes32 node,address wallet,uint64 issuedAt,uint64 expiresAt)",
    );
  });

  it("recovers the wallet that signed", async () => {
    expect(recoverNodeAuthorization(data, await signature())).toBe(data.wallet);
  });

  it.each([
    ["node", { node: `0x${"23".repeat(32)}` as Hex }],
    ["wallet", { wallet: data.contract }],
    ["issuedAt", { issuedAt: 1 }],
    ["expiresAt", { expiresAt: 2 }],
    ["chain", { chainId: 50 }],
    ["contract", { contract: data.wallet }],
  ])("leads elsewhere with another %s", async (_, change) => {
    expect(recoverNodeAuthorization({ ...data, ...change }, await signature())).not.toBe(data.wallet);
  });

  it("throws for a malformed signature", () => {
    expect(() => recoverNodeAuthorization(data, "0x1234")).toThrow();
  });
});
