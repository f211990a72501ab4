import type { Address, Hex } from "@proof-of-compute/proto";
import { ContractFactory, JsonRpcProvider, type Signer, Wallet } from "ethers";
import { feePerGas, readFee } from "../../coordinator/src/adapters/fees.ts";
import { proofOfComputeArtifact } from "./artifact.ts";

/** Where the contract goes and whom it obeys. */
export interface Deployment {
  readonly rpcUrl: string;
  /** Private key that pays; or `signer`. */
  readonly deployerKey?: string;
  /** Pays instead of `deployerKey`; used with its own provider if it has one. */
  readonly signer?: Signer;
  /** May record batches. */
  readonly recorder: Address;
  /** Names recorders, pauses, and credits by hand; the deployer when absent. */
  readonly owner?: Address;
}

/** A contract on its chain. */
export interface Deployed {
  readonly address: Address;
  readonly block: number;
  readonly transaction: Hex;
}

/** How long a deployment may take to be included, in milliseconds. */
const INCLUSION_TIMEOUT_MS = 180_000;

/** Deploys ProofOfCompute and resolves once a block holds it. Rejects when it is not included within three minutes. */
export async function deployProofOfCompute(deployment: Deployment): Promise<Deployed> {
  const provider = openRpc(deployment.rpcUrl);
  try {
    const signer = signerOf(deployment, provider);
    const { abi, bytecode } = proofOfComputeArtifact();
    const factory = new ContractFactory(abi, bytecode, signer);
    const owner = deployment.owner ?? (await signer.getAddress());
    const contract = await factory.deploy(owner, deployment.recorder, await readFee(provider));
    const transaction = contract.deploymentTransaction()!;
    const receipt = await transaction.wait(1, INCLUSION_TIMEOUT_MS);
    return {
      address: (await contract.getAddress()) as Address,
      block: receipt!.blockNumber,
      transaction: transaction.hash as Hex,
    };
  } finally {
    provider.destroy();
  }
}

/** The most that the deployment can cost now, in wei; rejects when the contract would refuse its arguments. */
export async function deploymentCost(
  provider: JsonRpcProvider,
  from: Address,
  owner: Address,
  recorder: Address,
): Promise<bigint> {
  const { abi, bytecode } = proofOfComputeArtifact();
  const transaction = await new ContractFactory(abi, bytecode).getDeployTransaction(owner, recorder);
  // No price in the call: some nodes then refuse it for want of coins instead of telling the gas.
  const [gas, fee] = await Promise.all([provider.estimateGas({ ...transaction, from }), readFee(provider)]);
  return gas * feePerGas(fee);
}

/** A provider that remembers nothing, and asks for the chain id once unless it is given. The caller destroys it. */
export function openRpc(rpcUrl: string, chainId?: number): JsonRpcProvider {
  return new JsonRpcProvider(rpcUrl, chainId, { staticNetwork: true, cacheTimeout: -1 });
}

function signerOf({ signer, deployerKey }: Deployment, provider: JsonRpcProvider): Signer {
  if (signer) return signer.provider ? signer : signer.connect(provider);
  if (deployerKey) return new Wallet(deployerKey, provider);
  throw new TypeError("a deployment needs a deployerKey or a signer");
}
