import { equal } from "@proof-of-compute/proto";
import type { Welcome } from "@proof-of-compute/proto/node";

/** Length of a network id. */
export const NETWORK_ID_BYTES = 8 + 20;

/** Network id of a coordinator without a chain. */
export const NO_NETWORK: Uint8Array = new Uint8Array(NETWORK_ID_BYTES);

/** Identifies a coordinator's network: its chain (uint64be) and contract, zeros while it has none. */
export function networkIdOf({ chainId, contract }: Pick<Welcome, "chainId" | "contract">): Buffer {
  const network = Buffer.alloc(NETWORK_ID_BYTES);
  network.writeBigUInt64BE(chainId);
  network.set(contract, 8);
  return network;
}

/** Whether coordinators of the network `here` know assignments of `network`: a coordinator may have got its chain since. */
export function isKnownAt(network: Uint8Array, here: Uint8Array): boolean {
  return equal(network, here) || equal(network, NO_NETWORK);
}
