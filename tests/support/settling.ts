import { randomBytes } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Address, addressFromBytes, PROOF_OF_COMPUTE_ABI, toHex } from "@proof-of-compute/proto";
import { Contract, Wallet } from "ethers";
import { pino } from "pino";
import { expect, vi } from "vitest";
import { EthersChain } from "../../coordinator/src/adapters/ethers-chain.ts";
import { SqliteStore } from "../../coordinator/src/adapters/sqlite/store.ts";
import { systemClock } from "../../coordinator/src/adapters/system-clock.ts";
import type { Batch } from "../../coordinator/src/domain/batch.ts";
import type { Receipt } from "../../coordinator/src/domain/receipt.ts";
import { accept, assign, type Task } from "../../coordinator/src/domain/task.ts";
import type { Chain } from "../../coordinator/src/ports/chain.ts";
import type { Store } from "../../coordinator/src/ports/store.ts";
import { ReceiptTrees } from "../../coordinator/src/services/receipt-trees.ts";
import { Settlement, type SettlementInit } from "../../coordinator/src/services/settlement.ts";
import { type LocalChain, startLocalChain } from "./local-chain.ts";
import { type RpcProxy, startRpcProxy } from "./rpc-proxy.ts";

const WAIT = { timeout: 60_000, interval: 10 };
const SETTLING: SettlementInit = {
  maxReceipts: 1_000,
  maxProviders: 100,
  maxWaitMs: 0,
  pollMs: 20,
  resendMs: 60_000,
};

/** A wallet that nobody has. */
export function someWallet(): Address {
  return addressFromBytes(randomBytes(20));
}

/** The real contract on the real EVM behind a proxy, a store on disk, and settlements between them. */
export class Settling {
  readonly proxy: RpcProxy;
  readonly store: SqliteStore;
  readonly contract: Address;
  readonly ethers: EthersChain;
  readonly trees = new ReceiptTrees();
  /** Every change that any settlement told of: "1 closed", "1 included", … */
  readonly changes: string[] = [];
  /** Lines that were logged at level warn or above. */
  readonly warnings: { readonly level: number; readonly msg: string; readonly reason?: string }[] = [];
  readonly #logger = pino(
    { level: "warn" },
    { write: (line: string) => void this.warnings.push(JSON.parse(line) as (typeof this.warnings)[number]) },
  );
  readonly #directory: string;
  readonly #settlements: Settlement[] = [];
  chain: LocalChain;

  private constructor(parts: {
    chain: LocalChain;
    proxy: RpcProxy;
    contract: Address;
    recorderKey: string;
    directory: string;
  }) {
    this.chain = parts.chain;
    this.proxy = parts.proxy;
    this.contract = parts.contract;
    this.#directory = parts.directory;
    this.store = new SqliteStore({ logger: this.#logger }, { path: join(parts.directory, "store.sqlite") });
    this.ethers = new EthersChain(
      { logger: this.#logger },
      { rpcUrl: parts.proxy.url, contract: parts.contract, recorderKey: parts.recorderKey, chainId: 31337 },
    );
  }

  /** `lag` is the number of blocks that finality lies behind. */
  static async begin(options: { lag?: number } = {}): Promise<Settling> {
    const chain = await startLocalChain();
    const { address, recorderKey } = await chain.deploy();
    const proxy = await startRpcProxy(chain.url, options);
    const directory = await mkdtemp(join(tmpdir(), "settling-"));
    const settling = new Settling({ chain, proxy, contract: address, recorderKey, directory });
    await settling.store.start();
    return settling;
  }

  async end(): Promise<void> {
    // Those that a test has killed never come to an end.
    await Promise.all(this.#settlements.map((settlement) => settlement.stop()));
    this.ethers.stop();
    await this.trees.stop();
    await this.store.stop();
    await this.proxy.stop();
    await this.chain.stop();
    await rm(this.#directory, { recursive: true });
  }

  /** Starts a settlement that {@link end} stops. */
  async settle(init: Partial<SettlementInit> = {}): Promise<Settlement> {
    const settlement = this.make(this.ethers, this.store, init);
    this.#settlements.push(settlement);
    await settlement.start();
    return settlement;
  }

  /** A settlement that is the caller's to start and stop. */
  make(chain: Chain, store: Store, init: Partial<SettlementInit> = {}): Settlement {
    const onChange = ({ id, state }: Batch) => void this.changes.push(`${id} ${state}`);
    const components = { store, chain, clock: systemClock, logger: this.#logger, trees: this.trees, onChange };
    return new Settlement(components, { ...SETTLING, ...init });
  }

  /** A fresh chain takes the place of the old one, with the contract at the same address, as `npm start` does it. */
  async wipe(): Promise<void> {
    await this.chain.stop();
    this.chain = await startLocalChain();
    expect((await this.chain.deploy()).address).toBe(this.contract);
    this.proxy.target = this.chain.url;
  }

  /** The contract as its owner sees it. */
  owned(): Contract {
    return new Contract(this.contract, PROOF_OF_COMPUTE_ABI, new Wallet(this.chain.key(0), this.chain.provider));
  }

  /** The contract in the hands of somebody else who has the recorder's key. */
  recorded(): Contract {
    return new Contract(this.contract, PROOF_OF_COMPUTE_ABI, new Wallet(this.chain.key(1), this.chain.provider));
  }

  mine(blocks: number): Promise<unknown> {
    return this.chain.provider.send("hardhat_mine", [`0x${blocks.toString(16)}`]);
  }

  /** Puts verified tasks with receipts into the store, one for each wallet. */
  async verify(wallets: readonly Address[]): Promise<void> {
    const tasks = wallets.map((wallet) => verifiedTask(wallet));
    await Promise.all(tasks.map(({ queued }) => this.store.insertTask(queued)));
    await Promise.all(tasks.map(({ running }) => this.store.saveTask(running)));
    const saved = await Promise.all(tasks.map(({ done, receipt }) => this.store.saveTask(done, { receipt })));
    expect(saved).toEqual(saved.map(() => true));
  }

  /** Resolves once every receipt stands in a recorded batch. */
  async allRecorded(): Promise<void> {
    await vi.waitFor(async () => {
      const { unbatched, units } = await this.store.totals();
      expect(unbatched.count).toBe(0);
      expect(units.recorded).toBe(units.verified);
      expect(await this.store.unrecordedBatches()).toEqual([]);
    }, WAIT);
  }

  /** Resolves once a batch has that state. */
  async reached(batchId: number, state: Batch["state"]): Promise<Batch> {
    return vi.waitFor(async () => {
      const batch = await this.store.batch(batchId);
      expect(batch?.state).toBe(state);
      return batch!;
    }, WAIT);
  }

  /** Resolves once settlement has gone through its steps twice more. */
  async lookedAgain(): Promise<void> {
    const finalized = () => this.proxy.calls.filter(({ params }) => params.includes("finalized")).length;
    const before = finalized();
    await vi.waitFor(() => expect(finalized()).toBeGreaterThan(before + 3), WAIT);
  }

  /** Each wallet has on the chain what its receipts in the store say, and each batch was recorded by one event. */
  async expectExactlyOnce(): Promise<void> {
    const owed = new Map<Address, bigint>();
    let cursor: string | undefined;
    do {
      const page = await this.store.receipts({ limit: 500, ...(cursor !== undefined && { cursor }) });
      for (const { provider, units } of page.items) owed.set(provider, (owed.get(provider) ?? 0n) + units);
      cursor = page.cursor;
    } while (cursor !== undefined);
    const contract = this.owned();
    for (const [wallet, units] of owed) expect(await contract.getFunction("computeUnits")(wallet), wallet).toBe(units);
    const events = await contract.queryFilter("BatchRecorded", 0, "latest");
    const last = await this.store.lastBatch();
    const ids = events.map((event) => Number((event as unknown as { args: { batchId: bigint } }).args.batchId));
    expect(ids).toEqual(Array.from({ length: last?.id ?? 0 }, (_, index) => index + 1));
  }

  /** Requests of one method so far. */
  count(method: string): number {
    return this.proxy.calls.filter((call) => call.method === method).length;
  }
}

/** A task on its way from queued to verified, for one unit more than a thousand up to two thousand. */
function verifiedTask(wallet: Address): { queued: Task; running: Task; done: Task; receipt: Receipt } {
  const now = Date.now();
  const taskId = toHex(randomBytes(16));
  const receiptId = toHex(randomBytes(16));
  const nodeId = toHex(randomBytes(32));
  const queued: Task = {
    id: taskId,
    version: 1,
    requester: wallet,
    kind: "matmul",
    spec: randomBytes(40),
    state: "queued",
    createdAt: now,
    deadline: now + 60_000,
    notBefore: now,
    attempts: 0,
    assignments: {},
  };
  const running = assign(queued, { id: receiptId, nodeId, wallet, assignedAt: now });
  const receipt: Receipt = {
    receiptId,
    taskId,
    nodeId,
    provider: wallet,
    requester: wallet,
    kind: "matmul",
    assurance: "proven",
    specDigest: toHex(randomBytes(32)),
    resultDigest: toHex(randomBytes(32)),
    units: BigInt(1_000 + (randomBytes(2).readUInt16BE() % 1_000)),
    acceptedAt: now,
    proof: { signature: toHex(randomBytes(64)), index: 0, size: 1, path: [] },
  };
  return { queued, running, done: accept(running, receipt), receipt };
}
