import { type Address, type Hex, sha256, toHex } from "@proof-of-compute/proto";
import { ComputeError } from "../../domain/errors.ts";
import {
  type BatchContent,
  BatchTooLarge,
  type BlockTag,
  type Chain,
  type ChainIdentity,
  ContractRefusal,
  type SentTransaction,
} from "../../ports/chain.ts";

/** Gas of a batch, for the transaction and for each credit: about as much as the contract takes. */
const GAS = { base: 75_000n, credit: 30_000n } as const;

/** The most credits that fit into one transaction. */
const MAX_CREDITS = 500;

export interface MemoryChainInit {
  readonly chainId: number;
  readonly contract: Address;
  readonly recorder: Address;
  /** Blocks by which finality lags behind the head. */
  readonly lag?: number;
}

/** A transaction in the pool. */
interface Pending {
  readonly batch: BatchContent;
  readonly sent: SentTransaction;
}

/** A transaction in a block; without `batch`, the contract refused it. */
interface Included {
  readonly block: number;
  readonly transaction: Hex;
  readonly batch: BatchContent | undefined;
}

/**
 * The model of a {@link Chain} adapter: blocks, finality that lags, and a pool in which a higher fee replaces. Tests
 * drive it by its fields and {@link mine}; it passes the same conformance suite as the contract over JSON-RPC.
 */
export class MemoryChain implements Chain {
  readonly chainId: number;
  readonly contract: Address;
  readonly #recorder: Address;
  /** Blocks by which finality lags behind the head. */
  lag: number;
  /** Whether each transaction gets a block at once. */
  autoMine = true;
  /** The wallet that the contract accepts batches from; this chain's own at first. */
  allowed: Address;
  paused = false;
  /** The recorder's balance, in wei. Transactions do not reduce it. */
  balance = 10n ** 20n;
  /** Price of a unit of gas, in wei. */
  gasPrice = 10n ** 9n;
  /** Called before every request, with its name; the request rejects with the error that this throws. */
  intercept: (method: keyof Chain, ...args: readonly unknown[]) => void | Promise<void> = () => {};
  /** All sent transactions, included or not. */
  readonly sent: SentTransaction[] = [];
  #head = 0;
  #included: readonly Included[] = [];
  #pending: Pending | undefined;

  constructor({ chainId, contract, recorder, lag = 0 }: MemoryChainInit) {
    this.chainId = chainId;
    this.contract = contract;
    this.lag = lag;
    this.#recorder = recorder;
    this.allowed = recorder;
  }

  /** Makes blocks; the first one includes the pending transaction. */
  mine(blocks = 1): void {
    for (let count = 0; count < blocks; count++) {
      this.#head++;
      const pending = this.#pending;
      this.#pending = undefined;
      if (!pending) continue;
      const { batch, sent } = pending;
      const refused = this.#refusal(batch) !== undefined;
      const included = { block: this.#head, transaction: sent.hash, batch: refused ? undefined : batch };
      this.#included = [...this.#included, included];
    }
  }

  /** Remembers the present state; the returned function drops every later block with its transactions. */
  mark(): () => void {
    const [head, included] = [this.#head, this.#included];
    return () => {
      this.#head = head;
      this.#included = included;
      this.#pending = undefined;
    };
  }

  async identify(): Promise<ChainIdentity> {
    await this.intercept("identify");
    const { chainId, contract, balance } = this;
    const recorder = this.#recorder;
    return { chainId, contract, recorder, isRecorder: this.allowed === recorder, balance };
  }

  async nextBatchId(at: BlockTag): Promise<number> {
    await this.intercept("nextBatchId", at);
    return this.#recordedAt(at).length + 1;
  }

  async rootOf(batchId: number, at: BlockTag): Promise<Hex | null> {
    await this.intercept("rootOf", batchId, at);
    return this.#recordedAt(at)[batchId - 1]?.batch.root ?? null;
  }

  async estimate(batch: BatchContent): Promise<bigint> {
    await this.intercept("estimate", batch);
    return this.#estimate(batch);
  }

  async send(batch: BatchContent, replacing?: SentTransaction): Promise<SentTransaction> {
    await this.intercept("send", batch, replacing);
    const gas = this.#estimate(batch);
    const nonce = this.#included.length;
    const held = replacing?.nonce === nonce ? replacing.feePerGas : (this.#pending?.sent.feePerGas ?? 0n);
    const raised = held + held / 8n + 1n;
    const feePerGas = held > 0n && raised > this.gasPrice ? raised : this.gasPrice;
    const maxCost = gas * feePerGas;
    if (this.balance < maxCost) {
      const figures = `holds ${this.balance} wei, and the next batch may cost ${maxCost}`;
      throw new ComputeError("UNAVAILABLE", `the recorder ${this.#recorder} ${figures}: send it coins`);
    }
    const content = JSON.stringify([nonce, String(feePerGas), this.#head, batch.id, batch.root]);
    const hash = toHex(sha256(new TextEncoder().encode(content)));
    const sent = { hash, nonce, feePerGas, tipPerGas: feePerGas, maxCost };
    this.#pending = { batch, sent };
    this.sent.push(sent);
    if (this.autoMine) this.mine();
    return sent;
  }

  async recording(batchId: number): Promise<{ readonly transaction: Hex; readonly block: number } | null> {
    await this.intercept("recording", batchId);
    const found = this.#recordedAt("latest")[batchId - 1];
    return found ? { transaction: found.transaction, block: found.block } : null;
  }

  async computeUnits(provider: Address): Promise<bigint> {
    await this.intercept("computeUnits", provider);
    const credits = this.#recordedAt("latest").flatMap(({ batch }) => batch.credits);
    return credits.reduce((sum, credit) => (credit.provider === provider ? sum + credit.units : sum), 0n);
  }

  #recordedAt(at: BlockTag) {
    const last = at === "latest" ? this.#head : Math.max(0, this.#head - this.lag);
    return this.#included.flatMap(({ batch, block, transaction }) =>
      batch && block <= last ? [{ batch, block, transaction }] : [],
    );
  }

  #refusal({ id }: BatchContent): ContractRefusal | undefined {
    if (this.paused) return new ContractRefusal("EnforcedPause", []);
    if (this.allowed !== this.#recorder) return new ContractRefusal("NotRecorder", [this.#recorder]);
    const next = this.#recordedAt("latest").length + 1;
    return id === next ? undefined : new ContractRefusal("BatchOutOfOrder", [BigInt(next), BigInt(id)]);
  }

  #estimate(batch: BatchContent): bigint {
    const { length } = batch.credits;
    if (length > MAX_CREDITS)
      throw new BatchTooLarge(`${length} credits, and a transaction has room for ${MAX_CREDITS}`);
    const refusal = this.#refusal(batch);
    if (refusal) throw refusal;
    return GAS.base + GAS.credit * BigInt(length);
  }
}
