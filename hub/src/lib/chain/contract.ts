import { type Address, PROOF_OF_COMPUTE_ABI } from "@proof-of-compute/proto";
import { Contract, FetchRequest, isError, JsonRpcProvider, Network } from "ethers";
import { refusalOf } from "./reach.ts";

/** A wallet's units at one block of the chain. */
export interface UnitsReading {
  readonly units: bigint;
  /** Number of the final block that was read. */
  readonly block: number;
}

/** Reads the contract through an RPC of the chain, without a coordinator. Throws {@link ChainError}. */
export interface ContractReader {
  computeUnits(wallet: Address): Promise<UnitsReading>;
}

/** Where the contract is. */
export interface ContractLocation {
  readonly rpcUrl: string;
  readonly chainId: number;
  readonly contractAddress: string;
}

/** The chain could not be read. The message says why. */
export class ChainError extends Error {
  override readonly name = "ChainError";
}

const TIMEOUT_MS = 8_000;

/** Creates a reader of the contract at the chain's final block. */
export function contractReader({ rpcUrl, chainId, contractAddress }: ContractLocation): ContractReader {
  const request = new FetchRequest(rpcUrl);
  request.timeout = TIMEOUT_MS;
  const network = Network.from(chainId);
  const provider = new JsonRpcProvider(request, network, { staticNetwork: network, cacheTimeout: -1 });
  const computeUnits = new Contract(contractAddress, PROOF_OF_COMPUTE_ABI, provider).getFunction("computeUnits");

  return {
    async computeUnits(wallet) {
      const refusal = refusalOf(rpcUrl);
      if (refusal !== undefined) throw new ChainError(refusal);
      try {
        // Both by one block number, so that the units belong to the block that is shown.
        const block = await provider.getBlock("finalized");
        if (!block) throw new ChainError("The chain has no final block yet.");
        return { units: await computeUnits(wallet, { blockTag: block.number }), block: block.number };
      } catch (cause) {
        if (cause instanceof ChainError) throw cause;
        if (isError(cause, "BAD_DATA")) {
          throw new ChainError(`No ProofOfCompute contract answers at ${contractAddress}.`, { cause });
        }
        throw new ChainError(`The chain does not answer at ${new URL(rpcUrl).origin}.`, { cause });
      }
    },
  };
}
