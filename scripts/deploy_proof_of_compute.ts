import { existsSync, readFileSync } from "node:fs";
import { resolve } from "node:path";
import { parseEnv } from "node:util";
import { readKeystore } from "@proof-of-compute/coordinator/settings";
import { type Address, NETWORKS, type Network, networkByName, parseAddress, reasonOf } from "@proof-of-compute/proto";
import { refuseSecretArguments } from "@proof-of-compute/proto/secrets";
import { Command, Option } from "commander";
import { formatEther, type JsonRpcProvider, type Signer, Wallet } from "ethers";
import {
  type Deployed,
  type Deployment,
  deploymentCost,
  deployProofOfCompute,
  isOnItsWay,
  openRpc,
} from "./lib/deploy.ts";
import { updateEnvFile } from "./lib/env-file.ts";

interface Options {
  readonly network: Network["name"];
  readonly owner?: string;
  readonly dotenv: string;
  readonly dryRun?: true;
  readonly again?: true;
}

type Environment = Readonly<Record<string, string | undefined>>;

function readOptions(argv: readonly string[]): Options {
  return (
    new Command("deploy")
      .description("Deploys ProofOfCompute and writes its address and block to .env.")
      .addOption(
        new Option("--network <name>", "where to").choices(NETWORKS.map(({ name }) => name)).makeOptionMandatory(),
      )
      .option("--owner <address>", "names recorders and pauses (default: the deployer)")
      // Not --env-file: Node takes this option itself, wherever it is.
      .option("--dotenv <file>", "read and updated", ".env")
      .option("--dry-run", "check everything, deploy nothing")
      .option("--again", "deploy even if the file names a live contract on that network")
      .addHelpText(
        "after",
        `
From the environment or the file, never from flags:
  XDC_RPC_URL                                                                  JSON-RPC of that network; default: its public one
  DEPLOYER_PRIVATE_KEY or DEPLOYER_KEYSTORE (with DEPLOYER_KEYSTORE_PASSWORD)   pays; on the local chain its first account
  RECORDER_ADDRESS, RECORDER_PRIVATE_KEY or RECORDER_KEYSTORE                  may record batches; default: the deployer`,
      )
      .parse(argv as string[])
      .opts<Options>()
  );
}

async function deploy(options: Options): Promise<void> {
  const envFile = resolve(options.dotenv);
  const environment: Environment = {
    ...(existsSync(envFile) && parseEnv(readFileSync(envFile, "utf8"))),
    ...process.env,
  };
  const network = networkByName(options.network)!;
  const rpcUrl = environment.XDC_RPC_URL || network.rpcUrl;
  if (!URL.canParse(rpcUrl)) throw new Error("XDC_RPC_URL is no URL");
  const provider = openRpc(rpcUrl, network.chainId);
  try {
    await checkChain(provider, network, rpcUrl);
    const signer = await deployerOf(environment, provider, network);
    const deployer = parseAddress(await signer.getAddress());
    const recorder = (await recorderOf(environment)) ?? deployer;
    const owner = options.owner === undefined ? deployer : parseAddress(options.owner);
    console.log(`network    ${network.title}, chain id ${network.chainId}`);
    console.log(`rpc        ${new URL(rpcUrl).host}`);
    console.log(`deployer   ${deployer}`);
    console.log(`owner      ${owner}`);
    console.log(`recorder   ${recorder}`);
    if (!options.again) await checkNotThere(provider, deployer, environment, envFile);
    const cost = await checkBalance(provider, { deployer, owner, recorder }, network);
    console.log(`cost       at most ${formatEther(cost)}`);
    if (options.dryRun) return console.log("\nA dry run: nothing was deployed.");

    const { address, block } = await send({ rpcUrl, signer, recorder, owner }, envFile, environment);
    updateEnvFile(envFile, { PROOF_OF_COMPUTE_BLOCK: String(block) });
    console.log(`included   in block ${block}`);
    if (network.explorerUrl === undefined) return;
    console.log(`\n${network.explorerUrl}/address/${address}`);
    console.log("Verify the source there, with ETHERSCAN_API_KEY (an Etherscan V2 key) in the environment, by:");
    console.log(`  npx hardhat verify etherscan --network ${network.name} ${address} ${owner} ${recorder}`);
  } finally {
    provider.destroy();
  }
}

/**
 * Writes the address to the file, then deploys, so that the next run finds the contract even if this one is interrupted.
 */
async function send(deployment: Deployment, envFile: string, environment: Environment): Promise<Deployed> {
  const before = environment.PROOF_OF_COMPUTE_ADDRESS;
  let named = false;
  try {
    return await deployProofOfCompute({
      ...deployment,
      onSending(address, block) {
        updateEnvFile(envFile, { PROOF_OF_COMPUTE_ADDRESS: address, PROOF_OF_COMPUTE_BLOCK: String(block) });
        named = true;
        console.log(`contract   ${address}`);
        console.log(`written to ${envFile}: PROOF_OF_COMPUTE_ADDRESS${before ? `, which was ${before}` : ""}`);
      },
      onSent: (transaction) => console.log(`sent       transaction ${transaction}`),
    });
  } catch (cause) {
    if (!named) throw cause;
    throw new Error(
      `${reasonOf(cause)}. The contract may still be included. Run this again, without --again: it deploys only if no contract is there or pending`,
      { cause },
    );
  }
}

async function checkChain(provider: JsonRpcProvider, network: Network, rpcUrl: string): Promise<void> {
  const { host } = new URL(rpcUrl);
  const chainId = await provider.send("eth_chainId", []).then(Number, (cause: unknown) => {
    throw new Error(`nothing answers at ${host} (${reasonOf(cause)}): is the network up, and XDC_RPC_URL right?`, {
      cause,
    });
  });
  if (chainId === network.chainId) return;
  throw new Error(
    `${host} serves chain ${chainId}; ${network.title} is ${network.chainId}: set XDC_RPC_URL to one of its RPCs, or leave it empty for the public one`,
  );
}

async function deployerOf(environment: Environment, provider: JsonRpcProvider, network: Network): Promise<Signer> {
  const key = await readKey(environment, "DEPLOYER");
  if (key !== undefined) return new Wallet(key, provider);
  if (network.name === "local") return provider.getSigner(0);
  throw new Error("set DEPLOYER_KEYSTORE or DEPLOYER_PRIVATE_KEY, in the environment or in .env, to the key that pays");
}

async function recorderOf(environment: Environment): Promise<Address | undefined> {
  if (environment.RECORDER_ADDRESS) return parseAddress(environment.RECORDER_ADDRESS);
  const key = await readKey(environment, "RECORDER");
  return key === undefined ? undefined : parseAddress(new Wallet(key).address);
}

async function readKey(environment: Environment, role: "DEPLOYER" | "RECORDER"): Promise<string | undefined> {
  const keystore = environment[`${role}_KEYSTORE`];
  if (keystore) return readKeystore(`${role}_KEYSTORE`, keystore, environment[`${role}_KEYSTORE_PASSWORD`]);
  const key = environment[`${role}_PRIVATE_KEY`];
  if (!key) return undefined;
  if (!/^0x[0-9a-fA-F]{64}$/.test(key)) throw new Error(`${role}_PRIVATE_KEY: must be 0x and 64 hex digits`);
  return key;
}

/** Throws if there is a contract already: units stay in it, and a second one would silently start at zero. */
async function checkNotThere(
  provider: JsonRpcProvider,
  deployer: Address,
  environment: Environment,
  envFile: string,
): Promise<void> {
  const named = environment.PROOF_OF_COMPUTE_ADDRESS;
  if (!named) return;
  const address = parseAddress(named);
  const where = `PROOF_OF_COMPUTE_ADDRESS (environment or ${envFile}) is ${named}`;
  // In this order, the second question sees a contract that was included after the first.
  if (await isOnItsWay(provider, deployer, address)) {
    throw new Error(`${where}, whose deployment is pending: run this again later; --again deploys another one`);
  }
  if ((await provider.getCode(address)) === "0x") return;
  throw new Error(
    `${where}, a live contract on this chain. Its units do not move to a new one; --again deploys one anyway`,
  );
}

async function checkBalance(
  provider: JsonRpcProvider,
  who: { readonly deployer: Address; readonly owner: Address; readonly recorder: Address },
  network: Network,
): Promise<bigint> {
  const [cost, balance] = await Promise.all([
    deploymentCost(provider, who.deployer, who.owner, who.recorder),
    provider.getBalance(who.deployer),
  ]);
  if (balance >= cost) return cost;
  const where = network.faucetUrl === undefined ? "" : `; test coins come from ${network.faucetUrl}`;
  throw new Error(
    `${who.deployer} holds ${formatEther(balance)} and the deployment may cost ${formatEther(cost)}${where}`,
  );
}

try {
  refuseSecretArguments(process.argv.slice(2));
  await deploy(readOptions(process.argv));
} catch (error) {
  console.error(`deploy: ${reasonOf(error)}`);
  process.exitCode = 1;
}
