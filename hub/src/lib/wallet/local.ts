import { type Hex, parseAddress } from "@proof-of-compute/proto";
import { Wallet as Key } from "ethers";
import type { Wallet } from "./wallet.ts";

const STORAGE_KEY = "proof-of-compute/local-wallet";

/**
 * A key that this browser makes and keeps in its storage. Only the local network offers it, where units have no value: people
 * can try the hub without installing a wallet.
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
