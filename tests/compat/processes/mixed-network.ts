import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Address, type Hex, PROOF_OF_COMPUTE_ABI } from "@proof-of-compute/proto";
import { Contract, Wallet } from "ethers";
import { vi } from "vitest";
import { RestClient } from "../../../scripts/local/rest-client.ts";
import { type LocalChain, startLocalChain } from "../../support/local-chain.ts";
import { freePort, Program } from "../../support/process.ts";
import { PATIENCE } from "../../support/test-network.ts";
import { checkOut, PREVIOUS } from "../../support/versions.ts";

/** The version before, or this one. */
export type Version = "old" | "new";

interface TaskView {
  readonly id: Hex;
  readonly state: string;
  readonly units: string;
  readonly receiptId?: Hex;
}

export interface Receipt {
  readonly receiptId: Hex;
  readonly taskId: Hex;
  readonly provider: Address;
  readonly units: string;
}

/** One coordinator of the network; it keeps its addresses and its data when it becomes another version. */
export class MixedCoordinator {
  readonly name: string;
  readonly grpcAddress: string;
  readonly origin: string;
  version: Version = "old";
  readonly #settings: Readonly<Record<string, string>>;
  readonly #oldRoot: string;
  #program: Program | undefined;

  constructor(
    name: string,
    ports: readonly [number, number],
    settings: Readonly<Record<string, string>>,
    oldRoot: string,
  ) {
    const [grpcPort, httpPort] = ports;
    this.name = name;
    this.grpcAddress = `127.0.0.1:${grpcPort}`;
    this.origin = `http://127.0.0.1:${httpPort}`;
    this.#settings = {
      COORDINATOR_ID: name,
      GRPC_ADDRESS: this.grpcAddress,
      HTTP_ADDRESS: `127.0.0.1:${httpPort}`,
      ...settings,
    };
    this.#oldRoot = oldRoot;
  }

  async start(version: Version): Promise<void> {
    this.version = version;
    const init = version === "old" ? { root: this.#oldRoot } : {};
    const program = new Program("coordinator/src/main.ts", [], this.#settings, init);
    this.#program = program;
    program.start();
    const ready = async () => {
      program.assertAlive();
      if (!(await fetch(`${this.origin}/readyz`)).ok) throw new Error(`${this.name} is not ready`);
    };
    await vi.waitFor(ready, PATIENCE);
  }

  async end(signal: "SIGTERM" | "SIGKILL"): Promise<number | null> {
    return (await this.#program?.end(signal)) ?? null;
  }

  get lastLines(): string {
    return this.#program?.lastLines ?? "";
  }
}

/** Coordinators and daemons of two versions as real programs, on one chain and one store. */
export class MixedNetwork {
  readonly chain: LocalChain;
  readonly contract: Contract;
  readonly requester = new Wallet(Wallet.createRandom().privateKey);
  readonly coordinators: readonly MixedCoordinator[];
  readonly #folder: string;
  readonly #oldRoot: string;
  readonly #client = new RestClient();
  readonly #daemons: Program[] = [];
  #requests = 0;

  private constructor(init: {
    chain: LocalChain;
    contract: Contract;
    coordinators: readonly MixedCoordinator[];
    folder: string;
    oldRoot: string;
  }) {
    this.chain = init.chain;
    this.contract = init.contract;
    this.coordinators = init.coordinators;
    this.#folder = init.folder;
    this.#oldRoot = init.oldRoot;
  }

  /** Starts nothing but the chain. `mongoUri`: of the store that the coordinators share; without one SQLite, for one of them. */
  static async create({ count = 1, mongoUri = "" }: { count?: number; mongoUri?: string } = {}): Promise<MixedNetwork> {
    const oldRoot = await checkOut(PREVIOUS);
    const chain = await startLocalChain();
    const { address, recorderKey } = await chain.deploy();
    const folder = await mkdtemp(join(tmpdir(), "proof-of-compute-mixed-"));
    await writeFile(join(folder, "recorder.key"), recorderKey, { mode: 0o600 });
    const coordinators: MixedCoordinator[] = [];
    for (let n = 0; n < count; n++) {
      const name = `coordinator-${n}`;
      const settings = {
        MONGODB_URI: mongoUri,
        DATA_DIR: join(folder, name),
        XDC_RPC_URL: chain.url,
        PROOF_OF_COMPUTE_ADDRESS: address,
        RECORDER_KEYSTORE: join(folder, "recorder.key"),
        BATCH_MAX_WAIT: "2s",
        CHAIN_POLL_INTERVAL: "200ms",
        HEARTBEAT_INTERVAL: "500ms",
        LEASE_TIME: "5s",
        DRAIN_TIMEOUT: "5s",
        RECONNECT_SPREAD: "100ms",
        LOG: "json",
      };
      coordinators.push(new MixedCoordinator(name, [await freePort(), await freePort()], settings, oldRoot));
    }
    const contract = new Contract(address, PROOF_OF_COMPUTE_ABI, chain.provider);
    return new MixedNetwork({ chain, contract, coordinators, folder, oldRoot });
  }

  /** Starts a daemon of one slot that dials any of the coordinators. */
  startDaemon(version: Version): { readonly wallet: Address; readonly program: Program } {
    const wallet = Wallet.createRandom().address as Address;
    const flags = this.coordinators.flatMap(({ grpcAddress }) => ["--coordinator", grpcAddress]);
    const program = new Program(
      "daemon/src/main.ts",
      [
        ...flags,
        ...["--wallet-address", wallet, "--slots", "1", "--log", "json", "--rpc-url", this.chain.url],
        ...["--data-dir", join(this.#folder, `daemon-${this.#daemons.length}`)],
      ],
      {},
      version === "old" ? { root: this.#oldRoot } : {},
    );
    program.start();
    this.#daemons.push(program);
    return { wallet, program };
  }

  /** A moment that a busy machine does not pass. */
  get #signal(): AbortSignal {
    return AbortSignal.timeout(PATIENCE.timeout);
  }

  /** Sessions are known to every coordinator of a store. */
  signIn({ origin }: MixedCoordinator): Promise<void> {
    return this.#client.signIn(origin, this.requester, this.#signal);
  }

  /** Asks for a task in the form of the coordinator's version. */
  async dispatch({ origin, version }: MixedCoordinator, [n, k]: readonly [number, number]): Promise<Hex> {
    const parameters = version === "old" ? { n, k } : { matmul: { n, k } };
    const { id } = await this.#client.json<TaskView>(origin, "POST", "/api/node/dispatch-task", {
      signal: this.#signal,
      body: { kind: "matmul", ...parameters },
      headers: { "idempotency-key": `request-${this.#requests++}` },
    });
    return id;
  }

  /** Waits until the coordinator says of each task that it is in the state. */
  inState(at: MixedCoordinator, ids: readonly Hex[], state: string): Promise<TaskView[]> {
    const look = async () => {
      const tasks = (await this.#list<TaskView>(at, "/api/tasks")).filter(({ id }) => ids.includes(id));
      const others = tasks.filter((task) => task.state !== state).map((task) => `${task.id} ${task.state}`);
      if (tasks.length < ids.length || others.length > 0) {
        throw new Error(`${tasks.length} of ${ids.length} tasks, not ${state}: ${others.join(", ")}\n${at.lastLines}`);
      }
      return tasks;
    };
    // Requests a minute are limited.
    return vi.waitFor(look, { ...PATIENCE, interval: 500 });
  }

  /** Every receipt. */
  receipts(at: MixedCoordinator): Promise<Receipt[]> {
    return this.#list(at, "/api/receipts");
  }

  async #list<T>({ origin }: MixedCoordinator, path: string): Promise<T[]> {
    const found: T[] = [];
    for (let cursor: string | undefined = ""; cursor !== undefined; ) {
      const query: string = cursor ? `&cursor=${cursor}` : "";
      const page: { items: T[]; cursor?: string } = await this.#client.json(
        origin,
        "GET",
        `${path}?limit=100${query}`,
        { signal: this.#signal },
      );
      found.push(...page.items);
      cursor = page.cursor;
    }
    return found;
  }

  /** Units of each wallet on the chain. */
  unitsOf(wallet: Address): Promise<bigint> {
    return this.contract.getFunction("computeUnits")(wallet);
  }

  async stop(): Promise<void> {
    for (const program of this.#daemons) await program.end("SIGKILL");
    for (const coordinator of this.coordinators) await coordinator.end("SIGKILL");
    await this.chain.stop();
    await rm(this.#folder, { recursive: true, force: true, maxRetries: 5 });
  }
}
