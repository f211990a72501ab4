import { randomBytes } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { EthersChain } from "@proof-of-compute/coordinator/adapters/ethers-chain";
import { systemClock } from "@proof-of-compute/coordinator/adapters/system-clock";
import type { Batch } from "@proof-of-compute/coordinator/domain/batch";
import type { Owner } from "@proof-of-compute/coordinator/domain/owner";
import type { Receipt } from "@proof-of-compute/coordinator/domain/receipt";
import { accept, assign, liveAssignment, type Task } from "@proof-of-compute/coordinator/domain/task";
import type { Chain } from "@proof-of-compute/coordinator/ports/chain";
import type { Store } from "@proof-of-compute/coordinator/ports/store";
import { readChainProgress } from "@proof-of-compute/coordinator/services/settlement/chain-progress";
import type { SettlementPeers } from "@proof-of-compute/coordinator/services/settlement/lock";
import { Settlement, type SettlementInit } from "@proof-of-compute/coordinator/services/settlement/settlement";
import { ReceiptTrees } from "@proof-of-compute/coordinator/services/settlement/trees/pool";
import { type Address, addressFromBytes, type Hex, PROOF_OF_COMPUTE_ABI, toHex } from "@proof-of-compute/proto";
import { Contract, Wallet } from "ethers";
import { pino } from "pino";
import { expect, vi } from "vitest";
import { backUp, wipeOut } from "./backup.ts";
import { type LocalChain, startLocalChain } from "./local-chain.ts";
import { type RpcProxy, startRpcProxy } from "./rpc-proxy.ts";
import { openTestStore } from "./store.ts";

const WAIT = { timeout: 60_000, interval: 10 };
const SETTLING: SettlementInit = {
  maxReceipts: 1_000,
  maxProviders: 100,
  maxWaitMs: 0,
  pollMs: 20,
  resendMs: 60_000,
};

/** Times of assignment and acceptance, in milliseconds since 1970, and the store. */
interface Verified {
  readonly at?: number;
  readonly from?: number;
  readonly store?: Store;
}

/** A random wallet. */
export function someWallet(): Address {
  return addressFromBytes(randomBytes(20));
}

/** The contract on an EVM behind a proxy, a store on disk, and settlements between them. */
export class Settling {
  readonly proxy: RpcProxy;
  store: Store;
  readonly contract: Address;
  readonly ethers: EthersChain;
  readonly trees = new ReceiptTrees();
  /** Every change that a settlement reported: "1 closed", "1 included", … */
  readonly changes: string[] = [];
  /** Lines that were logged at level warn or above. */
  readonly warnings: { readonly level: number; readonly msg: string; readonly reason?: string }[] = [];
  readonly logger = pino(
    { level: "warn" },
    { write: (line: string) => void this.warnings.push(JSON.parse(line) as (typeof this.warnings)[number]) },
  );
  /** The store's folder; {@link lend} lets a coordinator use it. */
  readonly directory: string;
  readonly #settlements: Settlement[] = [];
  readonly #gone = new Set<Hex>();
  #coordinators = 0;
  chain: LocalChain;

  private constructor(parts: {
    chain: LocalChain;
    proxy: RpcProxy;
    contract: Address;
    recorderKey: string;
    directory: string;
    store: Store;
  }) {
    this.chain = parts.chain;
    this.proxy = parts.proxy;
    this.contract = parts.contract;
    this.directory = parts.directory;
    this.store = parts.store;
    this.ethers = new EthersChain(
      { logger: this.logger },
      { rpcUrl: parts.proxy.url, contract: parts.contract, recorderKey: parts.recorderKey, chainId: 31337 },
    );
  }

  /** `lag` is the number of blocks by which finality lags behind. */
  static async begin(options: { lag?: number } = {}): Promise<Settling> {
    const chain = await startLocalChain();
    const { address, recorderKey } = await chain.deploy();
    const proxy = await startRpcProxy(chain.url, options);
    const directory = await mkdtemp(join(tmpdir(), "settling-"));
    const { store } = await openTestStore(directory);
    return new Settling({ chain, proxy, contract: address, recorderKey, directory, store });
  }

  async end(): Promise<void> {
    // Except for those that a test has killed, which never stop.
    await Promise.all(this.#settlements.map((settlement) => settlement.stop()));
    this.ethers.stop();
    await this.trees.stop();
    await this.store.stop();
    await this.proxy.stop();
    await this.chain.stop();
    await rm(this.directory, { recursive: true });
  }

  /** Another coordinator, which counts as alive until {@link bury}. */
  peer(): SettlementPeers {
    const self: Owner = { coordinatorId: `coordinator-${++this.#coordinators}`, incarnation: toHex(randomBytes(16)) };
    return { self, isAlive: ({ incarnation }) => !this.#gone.has(incarnation) };
  }

  /** Makes the others take that coordinator for dead. */
  bury({ self }: SettlementPeers): void {
    this.#gone.add(self.incarnation);
  }

  /** Starts a settlement that {@link end} stops. */
  async settle(init: Partial<SettlementInit> = {}, peers = this.peer()): Promise<Settlement> {
    const settlement = this.make(this.ethers, this.store, init, peers);
    this.#settlements.push(settlement);
    await settlement.start();
    return settlement;
  }

  /** Makes a settlement that the caller starts and stops. */
  make(chain: Chain, store: Store, init: Partial<SettlementInit> = {}, peers = this.peer()): Settlement {
    const onChange = ({ id, state }: Batch) => void this.changes.push(`${id} ${state}`);
    const { logger, trees } = this;
    const components = { store, chain, clock: systemClock, logger, trees, onChange, peers };
    return new Settlement(components, { ...SETTLING, ...init });
  }

  /** The contract with the key of another account. */
  chainOf(account: number): EthersChain {
    const init = { rpcUrl: this.proxy.url, contract: this.contract, recorderKey: this.chain.key(account) };
    return new EthersChain({ logger: this.logger }, { ...init, chainId: 31337 });
  }

  /** Closes the store while other programs use it; only one at a time can open SQLite. */
  async lend<T>(work: () => Promise<T>): Promise<T> {
    await this.store.stop();
    try {
      return await work();
    } finally {
      this.store = (await openTestStore(this.directory)).store;
    }
  }

  /** Copies the database; the returned function restores the copy, as operators do. */
  async backup(): Promise<() => Promise<void>> {
    const restore = await this.lend(() => backUp(this.directory));
    return () => this.lend(restore);
  }

  /** Deletes the whole database. */
  async lose(): Promise<void> {
    await this.lend(() => wipeOut(this.directory));
  }

  /** The newest batch. */
  async lastBatch(): Promise<Batch | undefined> {
    return (await this.store.batches({ limit: 1 })).items[0];
  }

  /** Replaces the chain by a new one with the contract at the same address, as `npm start` does. */
  async wipe(): Promise<void> {
    await this.chain.stop();
    this.chain = await startLocalChain();
    expect((await this.chain.deploy()).address).toBe(this.contract);
    this.proxy.target = this.chain.url;
  }

  /** The contract with its owner's key. */
  owned(): Contract {
    return new Contract(this.contract, PROOF_OF_COMPUTE_ABI, new Wallet(this.chain.key(0), this.chain.provider));
  }

  /** The contract with the recorder's key, outside of settlement. */
  recorded(): Contract {
    return new Contract(this.contract, PROOF_OF_COMPUTE_ABI, new Wallet(this.chain.key(1), this.chain.provider));
  }

  mine(blocks: number): Promise<unknown> {
    return this.chain.provider.send("hardhat_mine", [`0x${blocks.toString(16)}`]);
  }

  /** Stores a verified task with its receipt for each wallet, assigned at `from` and accepted at `at`. */
  async verify(
    wallets: readonly Address[],
    { at = Date.now(), from = at, store = this.store }: Verified = {},
  ): Promise<Receipt[]> {
    const tasks = wallets.map((wallet) => verifiedTask(wallet, from, at));
    await Promise.all(tasks.map(({ queued }) => store.insertTask(queued)));
    await Promise.all(tasks.map(({ running }) => store.saveTask(running)));
    const saved = await Promise.all(tasks.map(({ done, receipt }) => store.saveTask(done, { receipt })));
    expect(saved).toEqual(saved.map(() => true));
    return tasks.map(({ receipt }) => receipt);
  }

  /** Stores a task with an attempt that has been live since `at`; `receipt` is for {@link comeIn}. */
  async assign(wallet: Address, at: number): Promise<{ readonly running: Task; readonly receipt: Receipt }> {
    const { queued, running, receipt } = verifiedTask(wallet, at, at);
    await this.store.insertTask(queued);
    expect(await this.store.saveTask(running)).toBe(true);
    return { running, receipt };
  }

  /** Accepts the result of an attempt if it is still live, as when a node sends it for the first time or again. */
  async comeIn(receipt: Receipt): Promise<void> {
    const task = (await this.store.task(receipt.taskId))!;
    if (liveAssignment(task)) expect(await this.store.saveTask(accept(task, receipt), { receipt })).toBe(true);
  }

  /** Resolves once every receipt is in a recorded batch. */
  async allRecorded(): Promise<void> {
    await vi.waitFor(async () => {
      const { unbatched, units } = await this.store.totals();
      expect(unbatched.count).toBe(0);
      expect(units.recorded).toBe(units.verified);
      expect((await readChainProgress(this.store, Number.POSITIVE_INFINITY)).open).toEqual([]);
    }, WAIT);
  }

  /** The same on a chain without automatic blocks, or with too few for finality. */
  async allRecordedMining(): Promise<void> {
    await vi.waitFor(
      async () => {
        await this.mine(1);
        const { unbatched, units } = await this.store.totals();
        expect([unbatched.count, units.recorded]).toEqual([0, units.verified]);
      },
      { timeout: 60_000, interval: 20 },
    );
    await this.allRecorded();
  }

  /** Resolves once a batch has this state. */
  async reached(batchId: number, state: Batch["state"]): Promise<Batch> {
    return vi.waitFor(async () => {
      const batch = await this.store.batch(batchId);
      expect(batch?.state).toBe(state);
      return batch!;
    }, WAIT);
  }

  /** Resolves once settlement has made two more steps. */
  async lookedAgain(): Promise<void> {
    const finalized = () => this.proxy.calls.filter(({ params }) => params.includes("finalized")).length;
    const before = finalized();
    await vi.waitFor(() => expect(finalized()).toBeGreaterThan(before + 3), WAIT);
  }

  /**
   * Expects that every receipt is in exactly one batch, which the final block holds; that each wallet has on the chain
   * the units of its receipts and of credits by hand; and that each batch has one event.
   */
  async expectExactlyOnce(byHand: ReadonlyMap<Address, bigint> = new Map()): Promise<void> {
    const receipts: Receipt[] = [];
    let cursor: string | undefined;
    do {
      const page = await this.store.receipts({ limit: 500, ...(cursor !== undefined && { cursor }) });
      receipts.push(...page.items);
      cursor = page.cursor;
    } while (cursor !== undefined);
    const owed = new Map(byHand);
    for (const { provider, units } of receipts) owed.set(provider, (owed.get(provider) ?? 0n) + units);
    const contract = this.owned();
    for (const [wallet, units] of owed) expect(await contract.getFunction("computeUnits")(wallet), wallet).toBe(units);
    const carried = new Map<Hex, number>();
    const last = (await this.lastBatch())?.id ?? 0;
    for (let id = 1; id <= last; id++) {
      const batch = (await this.store.batch(id))!;
      expect(batch.state).toBe("recorded");
      expect(await this.ethers.rootOf(id, "finalized")).toBe(batch.root);
      for (const receiptId of batch.receiptIds) {
        expect(carried.has(receiptId), `${receiptId} stands in two batches`).toBe(false);
        carried.set(receiptId, id);
      }
    }
    expect(receipts.map(({ receiptId, batchId }) => [receiptId, batchId])).toEqual(
      receipts.map(({ receiptId }) => [receiptId, carried.get(receiptId)]),
    );
    expect(carried.size).toBe(receipts.length);
    const events = await contract.queryFilter("BatchRecorded", 0, "latest");
    const ids = events.map((event) => Number((event as unknown as { args: { batchId: bigint } }).args.batchId));
    expect(ids).toEqual(Array.from({ length: last }, (_, index) => index + 1));
  }

  /** Number of requests of a method so far. */
  count(method: string): number {
    return this.proxy.calls.filter((call) => call.method === method).length;
  }
}

/** A task in each state from queued to verified, worth 1,000 to 1,999 units. */
function verifiedTask(
  wallet: Address,
  from: number,
  at: number,
): { queued: Task; running: Task; done: Task; receipt: Receipt } {
  const taskId = toHex(randomBytes(16));
  // A UUIDv7 starts with its time.
  const receiptId: Hex = `0x${from.toString(16).padStart(12, "0")}${randomBytes(10).toString("hex")}`;
  const nodeId = toHex(randomBytes(32));
  const queued: Task = {
    id: taskId,
    version: 1,
    requester: wallet,
    kind: "matmul",
    spec: randomBytes(40),
    state: "queued",
    createdAt: from,
    deadline: at + 60_000,
    notBefore: from,
    attempts: 0,
    assignments: {},
  };
  const owner: Owner = { coordinatorId: "coordinator-1", incarnation: toHex(randomBytes(16)) };
  const running = assign(queued, { id: receiptId, nodeId, wallet, assignedAt: from }, owner);
  const receipt: Receipt = {
    receiptId,
    taskId,
    nodeId,
    provider: wallet,
    requester: wallet,
    kind: "matmul",
    assurance: "proven",
    specDigest: toHex(randomBytes(32)),
    spec: toHex(randomBytes(62)),
    resultDigest: toHex(randomBytes(32)),
    units: BigInt(1_000 + (randomBytes(2).readUInt16BE() % 1_000)),
    acceptedAt: at,
    proof: { signature: toHex(randomBytes(64)), index: 0, size: 1, path: [] },
  };
  return { queued, running, done: accept(running, receipt), receipt };
}
