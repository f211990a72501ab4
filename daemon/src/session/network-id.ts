import { equal } from "@proof-of-compute/proto";
import type { Welcome } from "@proof-of-compute/proto/node";

/** Of {@link networkIdOf}. */
export const NETWORK_ID_BYTES = 8 + 20;

/** Of results of a coordinator that records nowhere yet. */
export const NO_NETWORK: Uint8Array = new Uint8Array(NETWORK_ID_BYTES);

/** Which network a coordinator is of: its chain (uint64be) and its contract, zeros while it records nowhere. */
export function networkIdOf({ chainId, contract }: Pick<Welcome, "chainId" | "contract">): Buffer {
  const network = Buffer.alloc(NETWORK_ID_BYTES);
  network.writeBigUInt64BE(chainId);
  network.set(contract, 8);
  return network;
}

/** Whether what a coordinator of `network` gave is known at `here`: one without a chain may have found its own since. */
export function isKnownAt(network: Uint8Array, here: Uint8Array): boolean {
  return equal(network, here) || equal(network, NO_NETWORK);
}
