import { type Hex, parseAddress } from "@proof-of-compute/proto";
import { Wallet as Key } from "ethers";
import type { Wallet } from "./wallet.ts";

const STORAGE_KEY = "proof-of-compute/local-wallet";

/**
 * A key made in this browser and kept in its storage. It is offered on the local network only, where units are worth
 * nothing, so that trying things out needs no wallet to be installed.
 */
export function connectLocal(): Wallet {
  const stored = localStorage.getItem(STORAGE_KEY);
  const key = stored ? new Key(stored) : Key.createRandom();
  if (!stored) localStorage.setItem(STORAGE_KEY, key.privateKey);
  return {
    id: "local",
    name: "Local wallet",
    address: parseAddress(key.address),
    sign: async (message) => (await key.signMessage(message)) as Hex,
    signTypedData: async ({ domain, types, value }) => (await key.signTypedData(domain, types, value)) as Hex,
    watch: () => () => {},
  };
}
