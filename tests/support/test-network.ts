import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Address, PROOF_OF_COMPUTE_ABI } from "@proof-of-compute/proto";
import { Contract } from "ethers";
import { vi } from "vitest";
import { type LocalChain, startLocalChain } from "./local-chain.ts";
import { freePort, Program } from "./process.ts";
import { type RpcProxy, startRpcProxy } from "./rpc-proxy.ts";
import { storeSettings } from "./store.ts";

/** How long a program may take to start on a busy machine, in milliseconds. */
export const PATIENCE = { timeout: 60_000, interval: 50 };

/** A network of real programs on free loopback ports: a chain with a proxy in front, a coordinator, and daemons. */
export class TestNetwork {
  readonly chain: LocalChain;
  /** The proxy that coordinator and browsers use instead of the chain. */
  readonly rpc: RpcProxy;
  readonly contract: Contract;
  readonly coordinator: Program;
  /** Address of hub and REST. */
  readonly origin: string;
  readonly grpcAddress: string;
  readonly folder: string;
  readonly #daemons: Program[] = [];

  private constructor(init: Pick<TestNetwork, "chain" | "rpc" | "contract" | "coordinator" | "folder"> & Ports) {
    this.chain = init.chain;
    this.rpc = init.rpc;
    this.contract = init.contract;
    this.coordinator = init.coordinator;
    this.folder = init.folder;
    this.origin = `http://${init.httpAddress}`;
    this.grpcAddress = init.grpcAddress;
  }

  /** Resolves once the coordinator answers; `settings` are added to its environment. */
  static async start(settings: Readonly<Record<string, string>> = {}): Promise<TestNetwork> {
    const chain = await startLocalChain();
    const rpc = await startRpcProxy(chain.url);
    const { address, recorderKey } = await chain.deploy();
    const folder = await mkdtemp(join(tmpdir(), "proof-of-compute-network-"));
    await writeFile(join(folder, "recorder.key"), recorderKey, { mode: 0o600 });
    const grpcAddress = `127.0.0.1:${await freePort()}`;
    const httpAddress = `127.0.0.1:${await freePort()}`;
    const dataDir = join(folder, "coordinator");
    const coordinator = new Program("coordinator/src/main.ts", [], {
      ...(await storeSettings(dataDir)),
      GRPC_ADDRESS: grpcAddress,
      HTTP_ADDRESS: httpAddress,
      DATA_DIR: dataDir,
      XDC_RPC_URL: rpc.url,
      PROOF_OF_COMPUTE_ADDRESS: address,
      RECORDER_KEYSTORE: join(folder, "recorder.key"),
      BATCH_MAX_WAIT: "2s",
      CHAIN_POLL_INTERVAL: "200ms",
      HEARTBEAT_INTERVAL: "500ms",
      RECONNECT_SPREAD: "100ms",
      ...settings,
    });
    const contract = new Contract(address, PROOF_OF_COMPUTE_ABI, chain.provider);
    const network = new TestNetwork({ chain, rpc, contract, coordinator, folder, grpcAddress, httpAddress });
    await network.startCoordinator();
    return network;
  }

  /** Starts the coordinator, also after a stop. */
  async startCoordinator(): Promise<void> {
    this.coordinator.start();
    const ready = async () => {
      if (!(await fetch(`${this.origin}/healthz`)).ok) throw new Error("the coordinator is not well");
    };
    await vi.waitFor(ready, PATIENCE).catch((error: unknown) => {
      throw new Error(`the coordinator did not start:\n${this.coordinator.lastLines}`, { cause: error });
    });
  }

  /** Starts a daemon with its own data folder, and one slot unless these flags change that. */
  startDaemon(...flags: readonly string[]): Program {
    const dataDir = join(this.folder, `daemon-${this.#daemons.length}`);
    const daemon = new Program("daemon/src/main.ts", [
      "--data-dir",
      dataDir,
      "--slots",
      "1",
      "--log",
      "json",
      ...flags,
    ]);
    this.#daemons.push(daemon);
    daemon.start();
    return daemon;
  }

  /** Units of a wallet in the contract. */
  async units(wallet: Address): Promise<bigint> {
    return this.contract.getFunction("computeUnits")(wallet);
  }

  /** The next batch id of the contract. */
  async nextBatch(): Promise<bigint> {
    return this.contract.getFunction("nextBatchId")();
  }

  /** Stops the daemons by SIGTERM. */
  async stopDaemons(): Promise<void> {
    for (const daemon of this.#daemons) await daemon.end("SIGTERM");
  }

  async stop(): Promise<void> {
    for (const program of [...this.#daemons, this.coordinator]) await program.end("SIGKILL");
    await this.rpc.stop();
    await this.chain.stop();
    await rm(this.folder, { recursive: true, force: true, maxRetries: 5 });
  }
}

interface Ports {
  readonly grpcAddress: string;
  readonly httpAddress: string;
}
