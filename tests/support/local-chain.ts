import { fileURLToPath } from "node:url";
import type { Address } from "@proof-of-compute/proto";
import { HDNodeWallet, JsonRpcProvider } from "ethers";
import { createHardhatRuntimeEnvironment } from "hardhat/hre";
import config from "../../hardhat.config.ts";
import { deployProofOfCompute } from "../../scripts/lib/deploy.ts";

/** A chain in this process, served over JSON-RPC on loopback. Its state is lost when it stops. */
export interface LocalChain {
  readonly url: string;
  readonly chainId: 31337;
  /** A provider without a cache; `send("evm_…")` drives the chain. */
  readonly provider: JsonRpcProvider;
  /** Private key of the n-th funded account; 0 deploys and owns, 1 records. */
  key(index: number): string;
  /** Deploys ProofOfCompute with account 0 as owner and account 1 as recorder. */
  deploy(): Promise<{ address: Address; block: number; recorderKey: string; ownerKey: string }>;
  stop(): Promise<void>;
}

const ROOT = fileURLToPath(new URL("../..", import.meta.url));
/** Hardhat's well-known accounts. */
const MNEMONIC = HDNodeWallet.fromPhrase(
  "test test test test test test test test test test test junk",
  undefined,
  "m/44'/60'/0'/0",
);

/**
 * Starts the real EVM. Without `interval` every transaction makes a block at once; with it a block comes each `interval`
 * milliseconds.
 */
export async function startLocalChain(options: { port?: number; interval?: number } = {}): Promise<LocalChain> {
  const hre = await createHardhatRuntimeEnvironment(config, {}, ROOT);
  const mining = options.interval ? { auto: false, interval: options.interval } : { auto: true };
  const server = await hre.network.createServer(
    { network: "local", override: { mining } },
    "127.0.0.1",
    options.port ?? 0,
  );
  const { port } = await server.listen();
  const url = `http://127.0.0.1:${port}`;
  const provider = new JsonRpcProvider(url, 31337, { staticNetwork: true, cacheTimeout: -1, pollingInterval: 50 });
  const key = (index: number) => MNEMONIC.deriveChild(index).privateKey;
  return {
    url,
    chainId: 31337,
    provider,
    key,
    async deploy() {
      const recorder = MNEMONIC.deriveChild(1);
      const { address, block } = await deployProofOfCompute({
        rpcUrl: url,
        deployerKey: key(0),
        recorder: recorder.address as Address,
      });
      return { address, block, recorderKey: recorder.privateKey, ownerKey: key(0) };
    },
    async stop() {
      provider.destroy();
      await server.close();
    },
  };
}
