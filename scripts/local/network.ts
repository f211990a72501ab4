import { setTimeout as sleep } from "node:timers/promises";
import type { NodeView } from "@proof-of-compute/coordinator/edges/rest/network/schemas";
import { hostPort } from "@proof-of-compute/coordinator/net/host-port";
import {
  type Address,
  networkByChainId,
  PROOF_OF_COMPUTE_ABI,
  parseAddress,
  toXdcAddress,
} from "@proof-of-compute/proto";
import { Contract, JsonRpcProvider, type Wallet } from "ethers";
import { deployProofOfCompute } from "../lib/deploy.ts";
import { Child, LocalError, type Program } from "./children.ts";
import { Coordinators } from "./coordinators.ts";
import { keptWallet } from "./keys.ts";
import { dialled, requireFree } from "./ports.ts";
import { Requester } from "./requester.ts";
import { foldersOf, type LocalSettings } from "./settings.ts";

const STOP_MS = { chain: 3_000, daemon: 15_000 };
/** How long something may take to come up. */
export const START_MS = 60_000;
const POLL_MS = 100;

/** Tells the person at the terminal: what, and the evidence for it. */
export type Say = (label: string, ...lines: string[]) => void;

/** The chain that units are recorded on, and the contract there. */
export interface ChainFacts {
  readonly rpcUrl: string;
  readonly chainId: number;
  /** Whether it was started here, with an empty state. */
  readonly isLocal: boolean;
  readonly address: Address;
  readonly contract: Contract;
  /** Environment from which the coordinator learns who signs batches. */
  readonly recorderEnv: Readonly<Record<string, string>>;
}

/** Calls `ask` until it gives something. Rejects with `problem` when that takes longer than a start may take. */
export async function until<T>(ask: () => Promise<T | undefined>, problem: string, signal: AbortSignal): Promise<T> {
  const limit = AbortSignal.timeout(START_MS);
  for (let last: unknown; ; ) {
    try {
      const answer = await ask();
      if (answer !== undefined) return answer;
    } catch (error) {
      last = error;
    }
    signal.throwIfAborted();
    if (limit.aborted) throw new LocalError(`${problem} within ${START_MS / 1000} s`, { cause: last });
    await sleep(POLL_MS, undefined, { signal });
  }
}

/** The programs of one network on this machine. */
export class LocalNetwork {
  /** Where the hub and the REST facade are. */
  readonly origin: string;
  /** The wallet that the daemon earns for. */
  readonly provider: Wallet;
  /** The wallet that asks for the showcase task. */
  readonly requester: Wallet;
  readonly #settings: LocalSettings;
  readonly #root: string;
  readonly #say: Say;
  readonly #coordinators: Coordinators;
  readonly #running: (Child | Coordinators)[] = [];
  readonly #onFailure: (error: Error) => void;
  #rpc: JsonRpcProvider | undefined;

  /** `onFailure` is called when one of the programs ends by itself; a coordinator that was up starts again instead. */
  constructor(
    { say, onFailure }: { say: Say; onFailure: (error: Error) => void },
    init: { settings: LocalSettings; root: string },
  ) {
    this.#say = say;
    this.#onFailure = onFailure;
    this.#settings = init.settings;
    this.#root = init.root;
    this.#coordinators = new Coordinators({ say, onFailure }, init);
    this.origin = this.#coordinators.origin;
    const { keys } = foldersOf(init.settings.dataDir);
    this.provider = keptWallet(`${keys}/provider.key`);
    this.requester = keptWallet(`${keys}/requester.key`);
  }

  /** The local chain with a contract on it, or the chain that the settings name. */
  async startChain(signal: AbortSignal): Promise<ChainFacts> {
    const { chain } = this.#settings;
    await this.#coordinators.requirePorts();
    if ("rpcUrl" in chain) return this.#useChain(chain.rpcUrl, chain.contract);

    await requireFree(chain);
    const child = this.#start("chain", ["scripts/local/chain.ts", chain.host, String(chain.port)], {});
    await child.message(signal);
    const rpcUrl = `http://${hostPort(dialled(chain))}`;
    const { keys } = foldersOf(this.#settings.dataDir);
    const recorderFile = `${keys}/recorder.key`;
    const recorder = keptWallet(recorderFile);
    // A kept key at nonce 0 gives the same contract address on every fresh chain, so the store stays bound to it.
    const deployer = keptWallet(`${keys}/deployer.key`);
    const rpc = this.#connect(rpcUrl);
    for (const { address } of [deployer, recorder]) {
      await rpc.send("hardhat_setBalance", [address, `0x${(10n ** 22n).toString(16)}`]);
    }
    const deployed = await deployProofOfCompute({
      rpcUrl,
      deployerKey: deployer.privateKey,
      recorder: parseAddress(recorder.address),
    });
    this.#say("chain", `local chain, id 31337, at ${rpcUrl}`);
    this.#say("contract", `${deployed.address}`, `deployed in block ${deployed.block}, tx ${deployed.transaction}`);
    return {
      rpcUrl,
      chainId: 31337,
      isLocal: true,
      address: deployed.address,
      contract: new Contract(deployed.address, PROOF_OF_COMPUTE_ABI, rpc),
      // An empty RECORDER_PRIVATE_KEY keeps that of a `.env` for another chain out.
      recorderEnv: { RECORDER_KEYSTORE: recorderFile, RECORDER_PRIVATE_KEY: "" },
    };
  }

  /** The coordinators, each with REST facade and hub. */
  async startCoordinators(chain: ChainFacts, signal: AbortSignal): Promise<void> {
    this.#running.push(this.#coordinators);
    const env = {
      XDC_RPC_URL: chain.rpcUrl,
      PROOF_OF_COMPUTE_ADDRESS: chain.address,
      ...(chain.isLocal && { BATCH_MAX_WAIT: "2s", CHAIN_POLL_INTERVAL: "500ms", PUBLIC_RPC_URL: "" }),
      ...chain.recorderEnv,
    };
    await this.#coordinators.start(env, signal);
  }

  /** One daemon that earns for {@link provider}. Resolves once the coordinator sees it online. */
  async startDaemon(chain: ChainFacts, signal: AbortSignal): Promise<NodeView> {
    const { address } = this.provider;
    this.#start(
      "daemon",
      [
        "daemon/src/main.ts",
        ...["--wallet-address", address],
        ...["--coordinator", this.#coordinators.grpcAddresses.join(",")],
        ...["--data-dir", foldersOf(this.#settings.dataDir).daemon],
        ...["--drain-timeout", "10s"],
        ...["--log", "json"],
        // The coordinators here have no certificate, whatever address they were given.
        "--insecure",
      ],
      // What a daemon of a coordinator elsewhere may have been told is taken out; an RPC's URL is a secret.
      { RPC_URL: chain.rpcUrl, AUDIENCE: undefined, NODE_AUTHORIZATION: undefined, TLS_CA: undefined },
    );
    const requester = new Requester(this.origin);
    const ask = async () => (await requester.nodes(address, signal)).find(({ status }) => status === "online");
    const node = await until(ask, "the daemon did not come online", signal);
    this.#say(
      "node",
      node.id,
      `online with ${node.slots} slots on ${node.hardware.cpuModel.trim()}, earns for`,
      `${address} (${toXdcAddress(parseAddress(address))})`,
    );
    return node;
  }

  /** Ends everything, the last started first. Safe to repeat. */
  async stop(): Promise<void> {
    this.#rpc?.destroy();
    for (const program of this.#running.toReversed()) await program.stop();
  }

  /** Ends everything at once. */
  kill(): void {
    for (const program of this.#running) program.kill();
  }

  async #useChain(rpcUrl: string, address: string | undefined): Promise<ChainFacts> {
    const { RECORDER_KEYSTORE, RECORDER_PRIVATE_KEY } = process.env;
    if (address === undefined || !(RECORDER_KEYSTORE || RECORDER_PRIVATE_KEY)) {
      throw new LocalError(
        "XDC_RPC_URL is set, so units go to that chain: PROOF_OF_COMPUTE_ADDRESS must name the contract there (deploy one " +
          "with `npm run deploy -- --network apothem`) and RECORDER_KEYSTORE or RECORDER_PRIVATE_KEY the wallet that records. " +
          "Unset XDC_RPC_URL for a local chain.",
      );
    }
    const rpc = this.#connect(rpcUrl);
    const contract = parseAddress(address);
    let chainId: number;
    try {
      chainId = Number(await rpc.send("eth_chainId", []));
      if ((await rpc.getCode(contract)) === "0x")
        throw new LocalError(`chain ${chainId} has no contract at ${contract}`);
    } catch (cause) {
      if (cause instanceof LocalError) throw cause;
      throw new LocalError(`the chain at XDC_RPC_URL (${new URL(rpcUrl).host}) does not answer`, { cause });
    }
    this.#say("chain", `${networkByChainId(chainId)?.title ?? "chain"}, id ${chainId}, at ${new URL(rpcUrl).host}`);
    this.#say("contract", contract);
    return {
      rpcUrl,
      chainId,
      isLocal: false,
      address: contract,
      contract: new Contract(contract, PROOF_OF_COMPUTE_ABI, rpc),
      recorderEnv: {},
    };
  }

  #connect(rpcUrl: string): JsonRpcProvider {
    this.#rpc = new JsonRpcProvider(rpcUrl, undefined, { staticNetwork: true, cacheTimeout: -1 });
    return this.#rpc;
  }

  #start(name: keyof typeof STOP_MS, args: readonly string[], env: Program["env"]): Child {
    const { logs } = foldersOf(this.#settings.dataDir);
    const child = new Child({ name, args, env, stopMs: STOP_MS[name] }, { root: this.#root, logs });
    child.failed.catch(this.#onFailure);
    this.#running.push(child);
    return child;
  }
}
