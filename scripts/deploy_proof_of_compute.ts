import { existsSync, readFileSync } from "node:fs";
import { resolve } from "node:path";
import { parseEnv } from "node:util";
import { type Address, NETWORKS, type Network, networkByName, parseAddress } from "@proof-of-compute/proto";
import { Command, Option } from "commander";
import { formatEther, type JsonRpcProvider, type Signer, Wallet } from "ethers";
import { readKeystore } from "../coordinator/src/recorder-key.ts";
import { deploymentCost, deployProofOfCompute, openRpc } from "./lib/deploy.ts";
import { updateEnvFile } from "./lib/env-file.ts";

/** Something that its reader can put right; shown without a stack. */
class DeployError extends Error {
  override readonly name = "DeployError";
}

interface Options {
  readonly network: Network["name"];
  readonly rpcUrl?: string;
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
      .option("--rpc-url <url>", "JSON-RPC of that network (default: its public one)")
      .option("--owner <address>", "names recorders and pauses (default: the deployer)")
      // Not --env-file: Node takes that for itself, wherever it stands.
      .option("--dotenv <file>", "read and updated", ".env")
      .option("--dry-run", "check everything, deploy nothing")
      .option("--again", "deploy although the file names a live contract on that network")
      .addHelpText(
        "after",
        `
From the environment or the file, never from flags:
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
  const rpcUrl = options.rpcUrl ?? network.rpcUrl;
  const provider = openRpc(rpcUrl, network.chainId);
  try {
    await checkChain(provider, network, rpcUrl);
    const signer = await deployerOf(environment, provider, network);
    const deployer = parseAddress(await signer.getAddress());
    const recorder = (await recorderOf(environment)) ?? deployer;
    const owner = options.owner === undefined ? deployer : parseAddress(options.owner);
    console.log(`network    ${network.title}, chain id ${network.chainId}`);
    console.log(`deployer   ${deployer}`);
    console.log(`owner      ${owner}`);
    console.log(`recorder   ${recorder}`);
    if (!options.again) await checkNotLive(provider, environment, envFile);
    const cost = await checkBalance(provider, { deployer, owner, recorder }, network);
    console.log(`cost       at most ${formatEther(cost)}`);
    if (options.dryRun) return console.log("\nA dry run: nothing was deployed.");

    const { address, block, transaction } = await deployProofOfCompute({ rpcUrl, signer, recorder, owner });
    updateEnvFile(envFile, { PROOF_OF_COMPUTE_ADDRESS: address, PROOF_OF_COMPUTE_BLOCK: String(block) });
    console.log(`contract   ${address}, in block ${block}, transaction ${transaction}`);
    console.log(`written to ${envFile}: PROOF_OF_COMPUTE_ADDRESS and PROOF_OF_COMPUTE_BLOCK`);
    if (network.explorerUrl === undefined) return;
    console.log(`\n${network.explorerUrl}/address/${address}`);
    console.log("Verify the source there, with ETHERSCAN_API_KEY (an Etherscan V2 key) in the environment, by:");
    console.log(`  npx hardhat verify etherscan --network ${network.name} ${address} ${owner} ${recorder}`);
  } finally {
    provider.destroy();
  }
}

async function checkChain(provider: JsonRpcProvider, network: Network, rpcUrl: string): Promise<void> {
  const { host } = new URL(rpcUrl);
  const chainId = await provider.send("eth_chainId", []).then(Number, (cause: unknown) => {
    throw new DeployError(`nothing answers at ${host}: is the network up, and the address right?`, { cause });
  });
  if (chainId === network.chainId) return;
  throw new DeployError(`${host} serves chain ${chainId}; ${network.title} is ${network.chainId}`);
}

async function deployerOf(environment: Environment, provider: JsonRpcProvider, network: Network): Promise<Signer> {
  const key = await readKey(environment, "DEPLOYER");
  if (key !== undefined) return new Wallet(key, provider);
  if (network.name === "local") return provider.getSigner(0);
  throw new DeployError("set DEPLOYER_KEYSTORE or DEPLOYER_PRIVATE_KEY, in the environment or in .env: it pays");
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
  if (!/^0x[0-9a-fA-F]{64}$/.test(key)) throw new DeployError(`${role}_PRIVATE_KEY: must be 0x and 64 hex digits`);
  return key;
}

/** Units count in one contract: a second one on the same chain would silently begin at zero. */
async function checkNotLive(provider: JsonRpcProvider, environment: Environment, envFile: string): Promise<void> {
  const named = environment.PROOF_OF_COMPUTE_ADDRESS;
  if (!named || (await provider.getCode(parseAddress(named))) === "0x") return;
  throw new DeployError(
    `PROOF_OF_COMPUTE_ADDRESS (environment or ${envFile}) is ${named}, a live contract on this chain. Its units do not move to a new one; --again deploys all the same`,
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
  throw new DeployError(
    `${who.deployer} holds ${formatEther(balance)} and the deployment may cost ${formatEther(cost)}${where}`,
  );
}

try {
  await deploy(readOptions(process.argv));
} catch (error) {
  // What people can put right comes as one line; anything else with its stack.
  const expected = ["DeployError", "AddressError", "ConfigError"].includes((error as Error).name);
  console.error(expected ? `deploy: ${(error as Error).message}` : error);
  process.exitCode = 1;
}
