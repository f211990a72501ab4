import { chmod, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { type Address, PROOF_OF_COMPUTE_ABI, parseAddress } from "@proof-of-compute/proto";
import { Contract, JsonRpcProvider, Wallet } from "ethers";
import { deployProofOfCompute } from "../../../scripts/lib/deploy.ts";
import type { MongoServer } from "../../support/mongo.ts";
import { freePort, Program } from "../../support/process.ts";
import type { History } from "./history.ts";
import { type CoordinatorMember, type DaemonMember, type Member, makeCoordinator, makeDaemon } from "./members.ts";
import type { Shape } from "./schedule.ts";

const START_MS = 90_000;
/** Block time, shorter than XDC's. */
const BLOCK_MS = 300;
/** Exit code of a coordinator that cannot start without its store; its supervisor starts it again. */
const STORE_AWAY = 3;
const SUPERVISE_MS = 200;
/** Longer than every drain time-out. */
const END_MS = 60_000;

/** A network of real processes, with a link on every path between two of them. */
export class Cluster {
  readonly coordinators: readonly CoordinatorMember[];
  readonly daemons: readonly DaemonMember[];
  readonly chain: Program;
  readonly contract: Contract;
  readonly contractAddress: Address;
  readonly database: MongoServer | undefined;
  /** MongoDB URI past the links, for the checker. */
  readonly mongoUri: string | undefined;
  readonly #provider: JsonRpcProvider;
  readonly #supervision = new AbortController();

  private constructor(
    init: Pick<Cluster, "coordinators" | "daemons" | "chain" | "contractAddress" | "database" | "mongoUri"> & {
      provider: JsonRpcProvider;
    },
  ) {
    this.coordinators = init.coordinators;
    this.daemons = init.daemons;
    this.chain = init.chain;
    this.contractAddress = init.contractAddress;
    this.database = init.database;
    this.mongoUri = init.mongoUri;
    this.#provider = init.provider;
    this.contract = new Contract(init.contractAddress, PROOF_OF_COMPUTE_ABI, init.provider);
  }

  /** Starts a network in `folder`; resolves once every coordinator answers and every daemon is online. */
  static async start(folder: string, shape: Shape, database?: MongoServer): Promise<Cluster> {
    const port = await freePort();
    const chainUrl = `http://127.0.0.1:${port}`;
    const chain = new Program(
      "scripts/local/chain-server.ts",
      ["127.0.0.1", String(port)],
      {},
      { log: join(folder, "chain.log") },
    );
    chain.start();
    const provider = new JsonRpcProvider(chainUrl, 31337, { staticNetwork: true, cacheTimeout: -1 });
    await until("the chain answers", async () => {
      chain.assertAlive();
      await rpc(chainUrl, "eth_chainId");
    });
    const [deployer, recorder] = [Wallet.createRandom(), Wallet.createRandom()];
    for (const { address } of [deployer, recorder]) {
      await rpc(chainUrl, "hardhat_setBalance", [address, `0x${(10n ** 24n).toString(16)}`]);
    }
    const { address: contractAddress } = await deployProofOfCompute({
      rpcUrl: chainUrl,
      deployerKey: deployer.privateKey,
      recorder: parseAddress(recorder.address),
    });
    await rpc(chainUrl, "evm_setIntervalMining", [BLOCK_MS]);
    const keyFile = join(folder, "recorder.key");
    await writeFile(keyFile, recorder.privateKey);
    await chmod(keyFile, 0o600);

    const mongoUri = database?.uri();
    const coordinators: CoordinatorMember[] = [];
    for (let index = 1; index <= shape.coordinators; index++) {
      coordinators.push(
        await makeCoordinator(index, { folder, shape, chainUrl, contractAddress, keyFile, database, mongoUri }),
      );
    }
    const daemons: DaemonMember[] = [];
    for (let index = 0; index < shape.daemons; index++) daemons.push(await makeDaemon(index, folder, coordinators));

    const cluster = new Cluster({
      ...{ coordinators, daemons, chain, contractAddress, provider },
      ...{ database, mongoUri },
    });
    try {
      for (const { program } of coordinators) program.start();
      await cluster.ready();
      for (const { program } of daemons) program.start();
      await until("all daemons are online", () => cluster.#allOnline());
    } catch (error) {
      await cluster.kill();
      throw error;
    }
    return cluster;
  }

  /** Resolves once every coordinator answers. */
  async ready(): Promise<void> {
    for (const { name, program, requesters } of this.coordinators) {
      await until(`${name} answers`, async () => {
        if (program.failure !== undefined && program.failure !== STORE_AWAY) program.assertAlive();
        await get(`http://${requesters.address}/healthz`);
      });
    }
  }

  async #allOnline(): Promise<void> {
    for (const { program } of this.daemons) program.assertAlive();
    const { nodes } = (await get(`${this.doors[0]}/api/network`)) as { nodes: { online: number } };
    if (nodes.online < this.daemons.length) throw new Error(`${nodes.online} are online`);
  }

  /** Addresses for requesters, one for each coordinator. */
  get doors(): string[] {
    return this.coordinators.map(({ requesters }) => `http://${requesters.address}`);
  }

  /**
   * Restarts coordinators that ended because their store was unavailable, as a supervisor does. Rejects when any program
   * ends for another reason; never resolves before {@link unsupervise}.
   */
  async supervise(history: History): Promise<never> {
    const { signal } = this.#supervision;
    while (!signal.aborted) {
      const chain = { name: "chain", program: this.chain, shiftMs: 0 };
      for (const { name, program, shiftMs } of [...this.coordinators, ...this.daemons, chain]) {
        if (program.failure === undefined) continue;
        history.add({ type: "program", program: name, what: `ended unexpectedly: ${program.failure}` });
        const mayStart = program.failure === STORE_AWAY && this.coordinators.some((each) => each.program === program);
        if (!mayStart) throw new Error(`${name} ended unexpectedly (${program.failure}):\n${program.lastLines}`);
        program.start({ CLOCK_SHIFT_MS: String(shiftMs) });
      }
      await sleep(SUPERVISE_MS, undefined, { signal }).catch(() => {});
    }
    return new Promise(() => {});
  }

  unsupervise(): void {
    this.#supervision.abort();
  }

  /** Ends daemons, then coordinators, as an operator does. Rejects when one fails to end well. */
  async stopPrograms(): Promise<void> {
    this.unsupervise();
    for (const members of [this.daemons, this.coordinators]) {
      const ends = await Promise.all(members.map(endInTime));
      const bad = ends.findIndex((code) => code !== 0);
      if (bad >= 0) throw new Error(`${members[bad]!.name} answered SIGTERM with exit code ${ends[bad]}`);
    }
  }

  /** Kills every program that still runs. Safe to repeat. */
  async kill(): Promise<void> {
    this.unsupervise();
    for (const { program } of [...this.daemons, ...this.coordinators]) await program.end("SIGKILL");
    for (const { nodes, store, peers, requesters, rpc } of this.coordinators) {
      for (const link of [...nodes, ...(store ? [store] : []), peers, requesters]) await link.stop().catch(() => {});
      await rpc.stop().catch(() => {});
    }
    this.#provider.destroy();
    await this.chain.end("SIGKILL");
  }
}

async function rpc(url: string, method: string, params: unknown[] = []): Promise<void> {
  const body = JSON.stringify({ jsonrpc: "2.0", id: 1, method, params });
  const headers = { "content-type": "application/json" };
  const response = await fetch(url, { method: "POST", headers, body, signal: AbortSignal.timeout(5_000) });
  const { error } = (await response.json()) as { error?: { message: string } };
  if (error) throw new Error(`${method}: ${error.message}`);
}

/** Gets a JSON answer; throws if it is not a success. */
export async function get(url: string): Promise<unknown> {
  const response = await fetch(url, { signal: AbortSignal.timeout(5_000) });
  if (!response.ok) throw new Error(`${url} answers ${response.status}`);
  return response.json();
}

/** Repeats `ask` until it succeeds. */
export async function until(what: string, ask: () => Promise<void>, timeoutMs = START_MS): Promise<void> {
  for (const limit = performance.now() + timeoutMs; ; ) {
    try {
      return await ask();
    } catch (error) {
      if (performance.now() > limit) throw new Error(`not within ${timeoutMs / 1_000} s: ${what}`, { cause: error });
      await sleep(100);
    }
  }
}

/** Ends a program as an operator does, and returns its exit code. Rejects when that takes too long. */
export function endInTime({ name, program }: Pick<Member, "name" | "program">): Promise<number | null> {
  return within(END_MS, `${name} ends after SIGTERM`, program.end("SIGTERM"));
}

/** Resolves as `work` does; rejects when that takes longer than `ms`. */
export async function within<T>(ms: number, what: string, work: Promise<T>): Promise<T> {
  const limit = new AbortController();
  const late = sleep(ms, undefined, { signal: limit.signal }).then(
    () => Promise.reject(new Error(`not within ${ms / 1_000} s: ${what}`)),
    () => new Promise<never>(() => {}),
  );
  return Promise.race([work, late]).finally(() => limit.abort());
}
