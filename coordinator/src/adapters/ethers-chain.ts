import { type Address, type Hex, PROOF_OF_COMPUTE_ABI, parseAddress, reasonOf } from "@proof-of-compute/proto";
import {
  dataLength,
  FetchRequest,
  formatEther,
  Interface,
  isError,
  JsonRpcProvider,
  keccak256,
  Network,
  toQuantity,
  Wallet,
} from "ethers";
import type { Logger } from "pino";
import { ComputeError } from "../domain/errors.ts";
import {
  type BatchContent,
  BatchTooLarge,
  type BlockTag,
  type Chain,
  type ChainIdentity,
  ContractRefusal,
  type SentTransaction,
} from "../ports/chain.ts";
import { capFee, type Fee, feePerGas, leastFeePerGas, raiseFee, readFee, sameFee, tipPerGas } from "./fees.ts";

/** Longer than a healthy RPC takes, and short enough to report an outage soon. */
const REQUEST_TIMEOUT_MS = 10_000;
/** The most blocks for which XDC's public RPCs answer eth_getLogs. */
const LOG_CHUNK_BLOCKS = 2_000;
/** About three days of blocks. Nobody waits for a link to the explorer after that. */
const LOG_CHUNKS = 60;
/** Between an estimate and inclusion, others may write the same slots. */
const GAS_MARGIN_PERCENT = 20n;
/** The most that a replacement offers, as a multiple of the chain's price: no fee helps on a chain that stands still. */
const MAX_FEE_FACTOR = 8n;
/** In wei: XDC's nodes, like geth by default, refuse a transaction that may cost more than one coin. */
const MAX_COST = 10n ** 18n;
/** Their pools refuse a transaction of more than 64 KB. A little less, for the fields beside the data. */
const MAX_DATA_BYTES = 65_000;

/** Length of an error's selector in hex; a revert may carry less, or nothing. */
const SELECTOR_LENGTH = 10;

const CONTRACT = new Interface(PROOF_OF_COMPUTE_ABI);

/** The contract, its RPC, and the recorder's key. */
export interface EthersChainInit {
  /** May hold an API key: never logged. */
  readonly rpcUrl: string;
  readonly contract: Address;
  readonly recorderKey: string;
}

/**
 * The contract over JSON-RPC. It keeps no nonce, block number or pending transaction between calls, because a reorg or a
 * restarted node makes them wrong.
 */
export class EthersChain implements Chain {
  readonly chainId: number;
  readonly contract: Address;
  readonly #rpc: JsonRpcProvider;
  readonly #recorder: Wallet;
  readonly #log: Logger;

  /** Takes the chain id; {@link EthersChain.connect} asks the RPC for it. */
  constructor(components: { readonly logger: Logger }, init: EthersChainInit & { readonly chainId: number }) {
    this.chainId = init.chainId;
    this.contract = init.contract;
    this.#recorder = new Wallet(init.recorderKey);
    this.#log = components.logger;
    this.#rpc = openRpc(init.rpcUrl, init.chainId);
  }

  /** Asks the RPC for its chain id. Rejects with UNAVAILABLE when it does not answer. */
  static async connect(components: { readonly logger: Logger }, init: EthersChainInit): Promise<EthersChain> {
    const rpc = openRpc(init.rpcUrl, 0);
    try {
      const chainId = Number(await rpc.send("eth_chainId", []));
      return new EthersChain(components, { ...init, chainId });
    } catch (error) {
      throw unavailable(error);
    } finally {
      rpc.destroy();
    }
  }

  /** Ends pending calls; later calls reject. */
  stop(): void {
    this.#rpc.destroy();
  }

  async identify(): Promise<ChainIdentity> {
    // First, because another chain would answer the other calls too.
    const chainId = await this.#request<string>("eth_chainId", []);
    if (Number(chainId) !== this.chainId) {
      throw new ComputeError("UNAVAILABLE", `the RPC serves chain ${Number(chainId)} now, no more ${this.chainId}`);
    }
    const [balance, recorder] = await Promise.all([
      this.#request<string>("eth_getBalance", [this.#recorder.address, "latest"]),
      this.#call<string>("recorder", [], "latest"),
    ]);
    return {
      chainId: this.chainId,
      contract: this.contract,
      recorder: parseAddress(this.#recorder.address),
      isRecorder: recorder === this.#recorder.address,
      balance: BigInt(balance),
    };
  }

  async nextBatchId(at: BlockTag): Promise<number> {
    return Number(await this.#call<bigint>("nextBatchId", [], at));
  }

  async rootOf(batchId: number, at: BlockTag): Promise<Hex | null> {
    const root = await this.#call<Hex>("rootOf", [batchId], at);
    return BigInt(root) === 0n ? null : root;
  }

  async computeUnits(provider: Address): Promise<bigint> {
    return this.#call<bigint>("computeUnits", [provider], "latest");
  }

  async estimate(batch: BatchContent): Promise<bigint> {
    const length = dataLength(encodeBatch(batch));
    if (length > MAX_DATA_BYTES) throw new BatchTooLarge(`${length} bytes, and nodes take ${MAX_DATA_BYTES}`);
    const [gas, price] = await Promise.all([this.#estimate(batch), this.#readFee()]);
    const cost = withMargin(gas) * feePerGas(price);
    if (cost > MAX_COST) {
      throw new BatchTooLarge(`may cost ${formatEther(cost)}, and nodes take ${formatEther(MAX_COST)}`);
    }
    return gas;
  }

  async send(batch: BatchContent, replacing?: SentTransaction): Promise<SentTransaction> {
    const [gas, count, balance, price] = await Promise.all([
      this.#estimate(batch),
      this.#request<string>("eth_getTransactionCount", [this.#recorder.address, "latest"]),
      this.#request<string>("eth_getBalance", [this.#recorder.address, "latest"]),
      this.#readFee(),
    ]);
    const nonce = Number(count);
    const gasLimit = withMargin(gas);
    const affordable = MAX_COST / gasLimit;
    if (leastFeePerGas(price) > affordable) {
      const cost = formatEther(gasLimit * leastFeePerGas(price));
      throw new ComputeError("UNAVAILABLE", `batch ${batch.id} may cost ${cost} now, which no node takes: it waits`);
    }
    const dearest = least(MAX_FEE_FACTOR * feePerGas(price), affordable);
    let fee = capFee(price, affordable);
    if (replacing?.nonce === nonce) {
      const raised = raiseFee(fee, replacing);
      // At the limit, send the same transaction again, in case the pool has lost it.
      fee = feePerGas(raised) <= dearest ? raised : sameFee(fee, replacing);
    }
    for (;;) {
      // Check the balance: eth_estimateGas and eth_call never report an empty account.
      const maxCost = gasLimit * feePerGas(fee);
      if (BigInt(balance) < maxCost) throw this.#tooPoor(BigInt(balance), maxCost);
      const sent = { nonce, feePerGas: feePerGas(fee), tipPerGas: tipPerGas(fee), maxCost };
      const { raw, hash } = await this.#sign(batch, nonce, gasLimit, fee);
      if ((await this.#broadcast(raw)) === "taken") return { ...sent, hash };
      // A transaction from before a restart has the nonce, at an unknown fee.
      fee = raiseFee(fee, sent);
      if (feePerGas(fee) > dearest) throw new ComputeError("UNAVAILABLE", `a dear transaction holds nonce ${nonce}`);
      this.#log.info({ batchId: batch.id, nonce, feePerGas: String(feePerGas(fee)) }, "raised the fee to replace");
    }
  }

  async recording(batchId: number): Promise<{ readonly transaction: Hex; readonly block: number } | null> {
    const topics = CONTRACT.encodeFilterTopics("BatchRecorded", [batchId]);
    let to = Number(await this.#request<string>("eth_blockNumber", []));
    for (let chunk = 0; chunk < LOG_CHUNKS && to >= 0; chunk++, to -= LOG_CHUNK_BLOCKS) {
      const fromBlock = toQuantity(Math.max(0, to - LOG_CHUNK_BLOCKS + 1));
      const filter = { address: this.contract, topics, fromBlock, toBlock: toQuantity(to) };
      const logs = await this.#request<{ transactionHash: Hex; blockNumber: string }[]>("eth_getLogs", [filter]);
      const log = logs.at(-1);
      if (log) return { transaction: log.transactionHash, block: Number(log.blockNumber) };
    }
    return null;
  }

  async #estimate(batch: BatchContent): Promise<bigint> {
    const call = { from: this.#recorder.address, to: this.contract, data: encodeBatch(batch) };
    return BigInt(await this.#request<string>("eth_estimateGas", [call, "latest"]));
  }

  async #readFee(): Promise<Fee> {
    try {
      return await readFee(this.#rpc);
    } catch (error) {
      throw unavailable(error);
    }
  }

  async #sign(batch: BatchContent, nonce: number, gasLimit: bigint, fee: Fee): Promise<{ raw: Hex; hash: Hex }> {
    const request = { chainId: this.chainId, to: this.contract, data: encodeBatch(batch), nonce, gasLimit, ...fee };
    const raw = (await this.#recorder.signTransaction(request)) as Hex;
    return { raw, hash: keccak256(raw) as Hex };
  }

  /** Sends a signed transaction. One that the pool already has counts as taken. */
  async #broadcast(raw: Hex): Promise<"taken" | "underpriced"> {
    try {
      await this.#rpc.send("eth_sendRawTransaction", [raw]);
      return "taken";
    } catch (error) {
      const answer = reasonOf(error);
      if (/already known|known transaction/i.test(answer)) return "taken";
      if (/underpriced/i.test(answer) && /replac/i.test(answer)) return "underpriced";
      throw unavailable(error);
    }
  }

  async #call<T>(method: string, values: readonly unknown[], at: BlockTag): Promise<T> {
    const call = { to: this.contract, data: CONTRACT.encodeFunctionData(method, values) };
    let result: string;
    try {
      result = await this.#request<string>("eth_call", [call, at]);
    } catch (error) {
      if (at === "latest" || !(error instanceof ComputeError)) throw error;
      // Some nodes have no finalized block for a while after a restart, and some RPCs never have one. Asking again, or
      // another XDC_RPC_URL, solves both.
      const hint = "no answer as of the finalized block, without which nothing counts as recorded";
      throw new ComputeError("UNAVAILABLE", `${hint}: ${error.message}`);
    }
    if (result === "0x") {
      const where = at === "latest" ? `chain ${this.chainId}` : `the finalized block of chain ${this.chainId} (yet)`;
      throw new ComputeError("UNAVAILABLE", `there is no contract at ${this.contract} on ${where}`);
    }
    try {
      return CONTRACT.decodeFunctionResult(method, result)[0] as T;
    } catch {
      throw new ComputeError("UNAVAILABLE", `the contract at ${this.contract} is no ProofOfCompute`);
    }
  }

  async #request<T>(method: string, params: readonly unknown[]): Promise<T> {
    try {
      return (await this.#rpc.send(method, [...params])) as T;
    } catch (error) {
      throw refusal(error) ?? unavailable(error);
    }
  }

  #tooPoor(balance: bigint, cost: bigint): ComputeError {
    const { address } = this.#recorder;
    const figures = `holds ${formatEther(balance)}, and the next batch may cost ${formatEther(cost)}`;
    return new ComputeError("UNAVAILABLE", `the recorder ${address} ${figures}: send it coins`);
  }
}

function openRpc(rpcUrl: string, chainId: number): JsonRpcProvider {
  const request = new FetchRequest(rpcUrl);
  request.timeout = REQUEST_TIMEOUT_MS;
  request.setThrottleParams({ maxAttempts: 3 });
  const network = Network.from(chainId);
  // No batches: several public RPCs refuse them. No cache: a block number of 250 ms ago may belong to a dropped fork.
  return new JsonRpcProvider(request, network, { staticNetwork: network, cacheTimeout: -1, batchMaxCount: 1 });
}

function least(a: bigint, b: bigint): bigint {
  return a < b ? a : b;
}

function withMargin(gas: bigint): bigint {
  return (gas * (100n + GAS_MARGIN_PERCENT)) / 100n;
}

function encodeBatch(batch: BatchContent): string {
  const credits = batch.credits.map(({ provider, units }) => [provider, units]);
  return CONTRACT.encodeFunctionData("recordBatch", [batch.id, batch.root, credits]);
}

/** The contract's refusal in an error, if there is one. */
function refusal(error: unknown): ContractRefusal | undefined {
  if (!isError(error, "CALL_EXCEPTION")) return undefined;
  const revert = error.data && error.data.length >= SELECTOR_LENGTH ? CONTRACT.parseError(error.data) : null;
  if (revert) return new ContractRefusal(revert.name, [...revert.args]);
  // ethers takes every failed eth_call for a revert; only the RPC's message tells.
  const answer = reasonOf(error);
  return /revert|out of gas|gas required/i.test(answer) ? new ContractRefusal("unknown", [answer]) : undefined;
}

/** Keeps the reason and drops the cause, which contains the RPC's address, and with it its key. */
function unavailable(error: unknown): ComputeError {
  return error instanceof ComputeError ? error : new ComputeError("UNAVAILABLE", `the RPC failed: ${reasonOf(error)}`);
}
