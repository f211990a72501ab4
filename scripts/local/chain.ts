import { type Address, networkByChainId, PROOF_OF_COMPUTE_ABI, parseAddress } from "@proof-of-compute/proto";
import { Contract, JsonRpcProvider } from "ethers";
import { deployProofOfCompute } from "../lib/deploy.ts";
import { keptWallet } from "./keys.ts";
import { LocalError, type Say } from "./terminal.ts";

/** The balance of the wallets on a local chain, in wei. */
const PLENTY = 10n ** 22n;

/** The chain that records units, and the contract on it. */
export interface ChainFacts {
  readonly rpcUrl: string;
  readonly chainId: number;
  /** Whether this program started it, with an empty state. */
  readonly isLocal: boolean;
  readonly address: Address;
  readonly contract: Contract;
  /** Environment that gives coordinators the recorder's key. */
  readonly recorderEnv: Readonly<Record<string, string>>;
  /** Closes the connection of {@link contract}. */
  close(): void;
}

/** Deploys the contract on an empty local chain, with keys from a folder. */
export async function deployLocally(rpcUrl: string, keys: string, say: Say): Promise<ChainFacts> {
  const recorderFile = `${keys}/recorder.key`;
  const recorder = keptWallet(recorderFile);
  // The same key at nonce 0 gives the same contract address on every new chain, so the store stays bound to it.
  const deployer = keptWallet(`${keys}/deployer.key`);
  using opening = new DisposableStack();
  const rpc = opening.adopt(connect(rpcUrl), close);
  for (const { address } of [deployer, recorder]) {
    await rpc.send("hardhat_setBalance", [address, `0x${PLENTY.toString(16)}`]);
  }
  const deployed = await deployProofOfCompute({
    rpcUrl,
    deployerKey: deployer.privateKey,
    recorder: parseAddress(recorder.address),
  });
  say("chain", `local chain, id 31337, at ${rpcUrl}`);
  const opened = opening.move();
  say("contract", `${deployed.address}`, `deployed in block ${deployed.block}, tx ${deployed.transaction}`);
  return {
    rpcUrl,
    chainId: 31337,
    isLocal: true,
    address: deployed.address,
    contract: new Contract(deployed.address, PROOF_OF_COMPUTE_ABI, rpc),
    // Empty, so that a RECORDER_PRIVATE_KEY in `.env` for another chain is not used.
    recorderEnv: { RECORDER_KEYSTORE: recorderFile, RECORDER_PRIVATE_KEY: "" },
    close: () => opened.dispose(),
  };
}

/** Uses the chain and the contract of the settings. Throws a {@link LocalError} that names what is missing. */
export async function useChain(rpcUrl: string, address: string | undefined, say: Say): Promise<ChainFacts> {
  const { RECORDER_KEYSTORE, RECORDER_PRIVATE_KEY } = process.env;
  if (address === undefined || !(RECORDER_KEYSTORE || RECORDER_PRIVATE_KEY)) {
    throw new LocalError(
      "XDC_RPC_URL is set, so units go to that chain: PROOF_OF_COMPUTE_ADDRESS must name the contract there (deploy one " +
        "with `npm run deploy -- --network apothem`) and RECORDER_KEYSTORE or RECORDER_PRIVATE_KEY the wallet that records. " +
        "Unset XDC_RPC_URL for a local chain.",
    );
  }
  using opening = new DisposableStack();
  const rpc = opening.adopt(connect(rpcUrl), close);
  const contract = parseAddress(address);
  const { host } = new URL(rpcUrl);
  const chainId = await askChainId(rpc, contract, host);
  say("chain", `${networkByChainId(chainId)?.title ?? "chain"}, id ${chainId}, at ${host}`);
  say("contract", contract);
  const opened = opening.move();
  return {
    rpcUrl,
    chainId,
    isLocal: false,
    address: contract,
    contract: new Contract(contract, PROOF_OF_COMPUTE_ABI, rpc),
    recorderEnv: {},
    close: () => opened.dispose(),
  };
}

async function askChainId(rpc: JsonRpcProvider, contract: Address, host: string): Promise<number> {
  try {
    const chainId = Number(await rpc.send("eth_chainId", []));
    if ((await rpc.getCode(contract)) !== "0x") return chainId;
    throw new LocalError(`chain ${chainId} has no contract at ${contract}`);
  } catch (cause) {
    if (cause instanceof LocalError) throw cause;
    throw new LocalError(`the chain at XDC_RPC_URL (${host}) does not answer`, { cause });
  }
}

function connect(rpcUrl: string): JsonRpcProvider {
  return new JsonRpcProvider(rpcUrl, undefined, { staticNetwork: true, cacheTimeout: -1 });
}

function close(rpc: JsonRpcProvider): void {
  rpc.destroy();
}
