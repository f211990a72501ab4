import { setTimeout as sleep } from "node:timers/promises";
import { feePerGas, readFee } from "@proof-of-compute/coordinator/fees";
import type { Address, Hex } from "@proof-of-compute/proto";
import { ContractFactory, getCreateAddress, JsonRpcProvider, type Signer, Wallet } from "ethers";
import { proofOfComputeArtifact } from "./artifact.ts";

/** The chain of a deployment, and the contract's roles. */
export interface Deployment {
  readonly rpcUrl: string;
  /** Private key of the deployer, who pays; or give `signer`. */
  readonly deployerKey?: string;
  /** Pays instead of `deployerKey`, by its own provider if it has one. */
  readonly signer?: Signer;
  /** May record batches. */
  readonly recorder: Address;
  /** Names recorders, pauses, and credits by hand; the deployer when absent. */
  readonly owner?: Address;
  /** Called before the transaction is sent, with the contract's future address and the newest block. */
  readonly onSending?: (address: Address, block: number) => void;
  /** Called once the RPC has accepted the transaction. */
  readonly onSent?: (transaction: Hex) => void;
}

/** A deployed contract. */
export interface Deployed {
  readonly address: Address;
  readonly block: number;
  readonly transaction: Hex;
}

/** How long the chain may take to include a deployment, in milliseconds. */
const INCLUSION_TIMEOUT_MS = 180_000;
/** Pause after the first question whether it is included; doubled each time, up to the longest. */
const FIRST_PAUSE_MS = 50;
const LONGEST_PAUSE_MS = 2_000;
/** Questions in a row that an RPC may fail to answer: one that is overloaded for a moment loses nothing. */
const MAX_FAILURES = 5;

/** Deploys ProofOfCompute and resolves once a block holds it. Rejects when it is not included within three minutes. */
export async function deployProofOfCompute(deployment: Deployment): Promise<Deployed> {
  const provider = openRpc(deployment.rpcUrl);
  try {
    const signer = signerOf(deployment, provider);
    const { abi, bytecode } = proofOfComputeArtifact();
    const from = await signer.getAddress();
    const [nonce, head, fee] = await Promise.all([
      signer.getNonce("pending"),
      provider.getBlockNumber(),
      readFee(provider),
    ]);
    const address = getCreateAddress({ from, nonce }) as Address;
    const creation = await new ContractFactory(abi, bytecode).getDeployTransaction(
      deployment.owner ?? from,
      deployment.recorder,
      { ...fee, nonce },
    );
    // Fails here, before `onSending`, if the chain would refuse it.
    const transaction = await signer.populateTransaction(creation);
    deployment.onSending?.(address, head);
    const sent = await signer.sendTransaction(transaction);
    deployment.onSent?.(sent.hash as Hex);
    const block = await untilIncluded(provider, { hash: sent.hash as Hex, from, nonce });
    return { address, block, transaction: sent.hash as Hex };
  } finally {
    provider.destroy();
  }
}

/**
 * The block that includes a transaction. Not ethers' `wait`: what that asks in the background outlives it, and rejects
 * without a handler when an answer fails or the provider is destroyed, which ends the process.
 */
async function untilIncluded(
  provider: JsonRpcProvider,
  { hash, from, nonce }: { readonly hash: Hex; readonly from: string; readonly nonce: number },
): Promise<number> {
  const until = Date.now() + INCLUSION_TIMEOUT_MS;
  let failures = 0;
  for (let pause = FIRST_PAUSE_MS; Date.now() < until; pause = Math.min(LONGEST_PAUSE_MS, 2 * pause)) {
    try {
      // In this order: what is included between the two questions is seen by the second.
      const next = await provider.getTransactionCount(from, "latest");
      const receipt = await provider.getTransactionReceipt(hash);
      if (receipt?.status === 0) throw new Reverted(`transaction ${hash} was reverted in block ${receipt.blockNumber}`);
      if (receipt) return receipt.blockNumber;
      if (next > nonce) throw new Error(`another transaction of ${from} took the place of ${hash}`);
      failures = 0;
    } catch (error) {
      if (error instanceof Reverted || ++failures === MAX_FAILURES) throw error;
    }
    await sleep(pause);
  }
  throw new Error(`transaction ${hash} was not included within ${INCLUSION_TIMEOUT_MS / 1_000} s`);
}

class Reverted extends Error {
  override readonly name = "Reverted";
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
  // Without a price, because some nodes would then refuse a poor account instead of returning the gas.
  const [gas, fee] = await Promise.all([provider.estimateGas({ ...transaction, from }), readFee(provider)]);
  return gas * feePerGas(fee);
}

/**
 * Whether a pending transaction of `deployer` creates the contract at `address`. A transaction that no RPC knows does not
 * matter: the next deployment has the same nonce, so only one of the two can be included.
 */
export async function isOnItsWay(provider: JsonRpcProvider, deployer: Address, address: Address): Promise<boolean> {
  const [included, sent] = await Promise.all([
    provider.getTransactionCount(deployer, "latest"),
    provider.getTransactionCount(deployer, "pending"),
  ]);
  for (let nonce = included; nonce < sent; nonce++) {
    if (getCreateAddress({ from: deployer, nonce }) === address) return true;
  }
  return false;
}

/**
 * A provider without a cache, with one request in each body, because public RPCs refuse batches. It asks for the chain id
 * once, unless it is given. The caller destroys it.
 */
export function openRpc(rpcUrl: string, chainId?: number): JsonRpcProvider {
  return new JsonRpcProvider(rpcUrl, chainId, { staticNetwork: true, cacheTimeout: -1, batchMaxCount: 1 });
}

function signerOf({ signer, deployerKey }: Deployment, provider: JsonRpcProvider): Signer {
  if (signer) return signer.provider ? signer : signer.connect(provider);
  if (deployerKey) return new Wallet(deployerKey, provider);
  throw new TypeError("a deployment needs a deployerKey or a signer");
}
