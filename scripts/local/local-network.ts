import { hostPort } from "@proof-of-compute/coordinator/host-port";
import type { NodeView } from "@proof-of-compute/coordinator/rest";
import { parseAddress, toXdcAddress } from "@proof-of-compute/proto";
import type { Wallet } from "ethers";
import { type ChainFacts, deployLocally, useChain } from "./chain.ts";
import { Child, type Program } from "./children.ts";
import { Coordinators } from "./coordinators.ts";
import { keptWallet } from "./keys.ts";
import { dialled, requireFree } from "./ports.ts";
import { Requester } from "./requester.ts";
import { foldersOf, type LocalSettings } from "./settings.ts";
import type { Say } from "./terminal.ts";
import { until } from "./until.ts";

const STOP_MS = { chain: 3_000, daemon: 15_000 };

/** A network of programs on this machine. */
export class LocalNetwork {
  /** Address of the hub and the REST facade. */
  readonly origin: string;
  /** The wallet that is credited for the daemon's work. */
  readonly provider: Wallet;
  /** The wallet that requests the showcase task. */
  readonly requester: Wallet;
  readonly #settings: LocalSettings;
  readonly #root: string;
  readonly #say: Say;
  readonly #coordinators: Coordinators;
  readonly #running: (Child | Coordinators)[] = [];
  readonly #onFailure: (error: Error) => void;
  #chain: ChainFacts | undefined;

  /** Calls `onFailure` when one of the programs ends unasked; a coordinator that was ready restarts instead. */
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

  /** Starts the local chain and deploys the contract, or uses the chain of the settings. */
  async startChain(signal: AbortSignal): Promise<ChainFacts> {
    await this.#coordinators.requirePorts();
    this.#chain = await this.#openChain(signal);
    return this.#chain;
  }

  /** Starts the coordinators, each with REST facade and hub. */
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

  /** Starts a daemon for the wallet {@link provider}. Resolves once the coordinator shows it online. */
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
        // These coordinators have no certificate, whatever their address.
        "--insecure",
      ],
      // By environment, because an RPC's URL is a secret. Settings for a coordinator elsewhere are removed.
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

  /** Stops everything, in the reverse order of starting. Safe to repeat. */
  async stop(): Promise<void> {
    this.#chain?.close();
    for (const program of this.#running.toReversed()) await program.stop();
  }

  /** Kills everything. */
  kill(): void {
    for (const program of this.#running) program.kill();
  }

  async #openChain(signal: AbortSignal): Promise<ChainFacts> {
    const { chain, dataDir } = this.#settings;
    if ("rpcUrl" in chain) return useChain(chain.rpcUrl, chain.contract, this.#say);
    await requireFree(chain);
    const child = this.#start("chain", ["scripts/local/chain-server.ts", chain.host, String(chain.port)], {});
    await child.message(signal);
    return deployLocally(`http://${hostPort(dialled(chain))}`, foldersOf(dataDir).keys, this.#say);
  }

  #start(name: keyof typeof STOP_MS, args: readonly string[], env: Program["env"]): Child {
    const { logs } = foldersOf(this.#settings.dataDir);
    const child = new Child({ name, args, env, stopMs: STOP_MS[name] }, { root: this.#root, logs });
    child.failed.catch(this.#onFailure);
    this.#running.push(child);
    return child;
  }
}
