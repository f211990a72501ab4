import type { Address, Hex } from "@proof-of-compute/proto";
import { ContractFactory, JsonRpcProvider, type Signer, Wallet } from "ethers";
import { readFee } from "../../coordinator/src/adapters/fees.ts";
import { proofOfComputeArtifact } from "./artifact.ts";

/** Where the contract goes and whom it obeys. */
export interface Deployment {
  readonly rpcUrl: string;
  /** Private key that pays; or `signer`. */
  readonly deployerKey?: string;
  /** Wallet of a tool that pays instead of `deployerKey`; used with its own provider if it has one. */
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
  const provider = new JsonRpcProvider(deployment.rpcUrl, undefined, { staticNetwork: true, cacheTimeout: -1 });
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

function signerOf({ signer, deployerKey }: Deployment, provider: JsonRpcProvider): Signer {
  if (signer) return signer.provider ? signer : signer.connect(provider);
  if (deployerKey) return new Wallet(deployerKey, provider);
  throw new TypeError("a deployment needs a deployerKey or a signer");
}
