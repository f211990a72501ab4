import type { Address } from "@proof-of-compute/proto";
import { Contract, FetchRequest, isError, JsonRpcProvider, Network } from "ethers";

/** Units of a wallet as one block of the chain has them. */
export interface UnitsReading {
  readonly units: bigint;
  /** Number of the final block that they were read at. */
  readonly block: number;
}

/** Where the contract is. */
export interface ContractLocation {
  readonly rpcUrl: string;
  readonly chainId: number;
  readonly contractAddress: string;
}

/** The chain could not be read; the message says what to look at. */
export class ChainError extends Error {
  override readonly name = "ChainError";
}

const TIMEOUT_MS = 8_000;
const ABI = ["function computeUnits(address provider) view returns (uint256)"];

/** Makes a reader of `computeUnits` that asks the chain itself, at its final block, with no coordinator between. */
export function unitsReader(location: ContractLocation): (wallet: Address) => Promise<UnitsReading> {
  const request = new FetchRequest(location.rpcUrl);
  request.timeout = TIMEOUT_MS;
  const network = Network.from(location.chainId);
  const provider = new JsonRpcProvider(request, network, { staticNetwork: network, cacheTimeout: -1 });
  const contract = new Contract(location.contractAddress, ABI, provider);
  const computeUnits = contract.getFunction("computeUnits");

  return async (wallet) => {
    try {
      // One block for both, so that the number shown is the number at the block shown.
      const block = await provider.getBlock("finalized");
      if (!block) throw new ChainError("The chain has no final block yet.");
      return { units: await computeUnits(wallet, { blockTag: block.number }), block: block.number };
    } catch (cause) {
      if (cause instanceof ChainError) throw cause;
      if (isError(cause, "BAD_DATA")) {
        throw new ChainError(`No ProofOfCompute contract answers at ${location.contractAddress}.`, { cause });
      }
      throw new ChainError(`The chain does not answer at ${new URL(location.rpcUrl).origin}.`, { cause });
    }
  };
}
