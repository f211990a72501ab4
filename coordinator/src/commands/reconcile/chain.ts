/** The chain's side of `npm run reconcile`: all that the contract has recorded, read from its events. */
import { type Address, type Hex, PROOF_OF_COMPUTE_ABI, parseAddress } from "@proof-of-compute/proto";
import type { Credit } from "@proof-of-compute/proto/verify-chain";
import {
  Contract,
  FetchRequest,
  Interface,
  isError,
  JsonRpcProvider,
  type Log,
  type LogDescription,
  toQuantity,
} from "ethers";

const ABI = new Interface(PROOF_OF_COMPUTE_ABI);
/** The most blocks for which XDC's RPCs answer eth_getLogs. */
const SPAN = 2_000;
/** More than a healthy RPC needs, in milliseconds. */
const TIMEOUT_MS = 60_000;
/** Requests at a time. */
const AT_ONCE = 8;
/** Wallets read at one block. They take seconds, and a full node keeps only the state of the last 128 blocks. */
const WALLETS_AT_A_BLOCK = 200;

/** A batch as the contract recorded it. */
export interface RecordedBatch {
  readonly id: number;
  readonly root: Hex;
  readonly units: bigint;
  /** In the transaction's order. */
  readonly credits: readonly Credit[];
  readonly transaction: Hex;
  readonly block: number;
}

/** The contract's content at one final block. */
export interface ChainLedger {
  readonly block: number;
  /** Ordered by id, from 1. */
  readonly batches: readonly RecordedBatch[];
  /** The units of each wallet, and how many of them the owner credited outside of batches. */
  readonly wallets: ReadonlyMap<Address, { readonly units: bigint; readonly byHand: bigint }>;
}

/** A contract, and the block of its deployment. */
export interface LedgerSource {
  readonly contract: Address;
  readonly fromBlock: number;
}

/** Connects to a chain. Rejects when the RPC does not answer. */
export async function openChain(rpcUrl: string): Promise<{ readonly rpc: JsonRpcProvider; readonly chainId: number }> {
  const request = new FetchRequest(rpcUrl);
  request.timeout = TIMEOUT_MS;
  // Name any network, because ethers would look for one forever if nothing answers. No request depends on it.
  const rpc = new JsonRpcProvider(request, 0, { staticNetwork: true, cacheTimeout: -1, batchMaxCount: 1 });
  try {
    return { rpc, chainId: Number(await rpc.send("eth_chainId", [])) };
  } catch (error) {
    rpc.destroy();
    throw error;
  }
}

/**
 * Reads the ledger at the newest final block. Throws when the RPC does not serve every event: each batch must follow the
 * previous one, its credits must add up to its units, and each wallet's credits to the units that the contract holds.
 */
export async function readChainLedger(rpc: JsonRpcProvider, source: LedgerSource): Promise<ChainLedger> {
  const collector = new Collector();
  const { batches, wallets } = collector;
  const asked = new Map<Address, bigint>();
  let block = source.fromBlock - 1;
  for (;;) {
    block = await readOn(rpc, source.contract, block, collector);
    // Wallets that were credited since they were read are read again.
    const due = [...wallets].filter(([wallet, { units }]) => asked.get(wallet) !== units);
    if (due.length === 0) break;
    await inParts(due.slice(0, WALLETS_AT_A_BLOCK), async ([wallet, { units }]) => {
      const held = await askContract(rpc, source, "computeUnits", block, wallet);
      if (held !== units) throw new Error(`the events give ${wallet} ${units} units, the contract ${held}: ${ADVICE}`);
      asked.set(wallet, units);
    });
  }
  const next = Number(await askContract(rpc, source, "nextBatchId", block));
  if (batches.length !== next - 1) {
    throw new Error(`the RPC tells of ${batches.length} batches and the contract of ${next - 1}: ${ADVICE}`);
  }
  return { block, batches, wallets };
}

/**
 * Reads the events after a block, and those of blocks that become final meanwhile, until one query reads the rest.
 * Returns the last block of that query, which is only seconds old.
 */
async function readOn(rpc: JsonRpcProvider, contract: Address, after: number, collector: Collector): Promise<number> {
  for (let read = after; ; ) {
    const from = read + 1;
    read = Math.max(read, await finalBlock(rpc));
    for (const log of await readLogs(rpc, contract, from, read)) collector.add(log);
    if (read - from < SPAN) return read;
  }
}

/** Whether the head of the chain holds batches that are not final yet. */
export async function hasUnfinalBatches(rpc: JsonRpcProvider, source: LedgerSource): Promise<boolean> {
  const [latest, final] = await Promise.all(
    ["latest", "finalized"].map((tag) => askContract(rpc, source, "nextBatchId", tag)),
  );
  return latest !== final;
}

async function askContract(
  rpc: JsonRpcProvider,
  { contract }: LedgerSource,
  name: string,
  blockTag: number | string,
  ...values: unknown[]
): Promise<bigint> {
  try {
    return await new Contract(contract, ABI, rpc).getFunction(name)(...values, { blockTag });
  } catch (cause) {
    if (!isError(cause, "BAD_DATA")) throw cause;
    throw new Error(`no ProofOfCompute contract answers at ${contract}`, { cause });
  }
}

/** The time of a block, in milliseconds since 1970, by the chain's clock. */
export async function timeOf(rpc: JsonRpcProvider, block: number): Promise<number> {
  const found = (await rpc.send("eth_getBlockByNumber", [toQuantity(block), false])) as { timestamp: string } | null;
  if (!found) throw new Error(`the RPC has no block ${block}`);
  return Number(found.timestamp) * 1_000;
}

const ADVICE = "use an RPC that serves every event since the block of the deployment (PROOF_OF_COMPUTE_BLOCK)";

/** Assembles the events: a batch emits ComputeRecorded for each of its wallets, then BatchRecorded. */
class Collector {
  readonly batches: RecordedBatch[] = [];
  readonly wallets = new Map<Address, { units: bigint; byHand: bigint }>();
  /** Credits that do not belong to a batch so far. */
  #credits: { readonly wallet: Address; readonly units: bigint; readonly transaction: string }[] = [];

  add(log: Log): void {
    const event = ABI.parseLog(log);
    if (event?.name === "ComputeRecorded") this.#credit(event, log);
    if (event?.name === "BatchRecorded") this.#close(event, log);
  }

  #credit({ args }: LogDescription, { transactionHash }: Log): void {
    const wallet = parseAddress(args.getValue("provider"));
    const total: bigint = args.getValue("totalUnits");
    const before = this.wallets.get(wallet) ?? { units: 0n, byHand: 0n };
    const units = total - before.units;
    this.#credits.push({ wallet, units, transaction: transactionHash });
    // By hand, unless a batch follows that claims the credit.
    this.wallets.set(wallet, { units: total, byHand: before.byHand + units });
  }

  #close({ args }: LogDescription, { transactionHash, blockNumber }: Log): void {
    const id = Number(args.getValue("batchId"));
    const units: bigint = args.getValue("units");
    const own = this.#credits.slice(-Number(args.getValue("providers")));
    this.#credits = [];
    const sum = own.reduce((total, credit) => total + credit.units, 0n);
    if (id !== this.batches.length + 1 || sum !== units || own.some((one) => one.transaction !== transactionHash)) {
      throw new Error(`the RPC does not tell all of batch ${id}: ${ADVICE}`);
    }
    for (const credit of own) {
      const { units: total, byHand } = this.wallets.get(credit.wallet)!;
      this.wallets.set(credit.wallet, { units: total, byHand: byHand - credit.units });
    }
    const root: Hex = args.getValue("root");
    const credits = own.map((credit) => ({ provider: credit.wallet, units: credit.units }));
    this.batches.push({ id, root, units, credits, transaction: transactionHash as Hex, block: blockNumber });
  }
}

async function finalBlock(rpc: JsonRpcProvider): Promise<number> {
  const block = (await rpc.send("eth_getBlockByNumber", ["finalized", false])) as { number: string } | null;
  if (!block) throw new Error("the chain has no final block yet");
  return Number(block.number);
}

async function readLogs(rpc: JsonRpcProvider, contract: Address, from: number, to: number): Promise<Log[]> {
  const topics = [["ComputeRecorded", "BatchRecorded"].map((name) => ABI.getEvent(name)!.topicHash)];
  const starts = Array.from({ length: Math.ceil((to - from + 1) / SPAN) }, (_, index) => from + index * SPAN);
  const logs: Log[][] = [];
  await inParts(starts, async (start) => {
    const filter = { address: contract, topics, fromBlock: start, toBlock: Math.min(to, start + SPAN - 1) };
    logs[(start - from) / SPAN] = await rpc.getLogs(filter);
  });
  return logs.flat();
}

async function inParts<T>(items: readonly T[], work: (item: T) => Promise<void>): Promise<void> {
  for (let start = 0; start < items.length; start += AT_ONCE) {
    await Promise.all(items.slice(start, start + AT_ONCE).map(work));
  }
}
