import type { Address, Hex } from "@proof-of-compute/proto";
import type { Batch } from "../domain/batch.ts";

/** The block at which a question is asked: `latest` decides what to send, `finalized` what is recorded. */
export type BlockTag = "latest" | "finalized";

/** The parts of a batch that the contract takes. */
export type BatchContent = Pick<Batch, "id" | "root" | "credits">;

/** The configured contract and recorder. */
export interface ChainIdentity {
  readonly chainId: number;
  readonly contract: Address;
  /** The wallet that signs batches here. */
  readonly recorder: Address;
  /** Whether the contract accepts batches from it. */
  readonly isRecorder: boolean;
  /** Its balance in wei. */
  readonly balance: bigint;
}

/** The transaction of a batch, sent and perhaps not included yet. */
export interface SentTransaction {
  readonly hash: Hex;
  readonly nonce: number;
  /** The most that it offers for a unit of gas, in wei. */
  readonly feePerGas: bigint;
  /** The part of it that the block's producer may keep. */
  readonly tipPerGas: bigint;
  /** The most that it can cost, in wei. */
  readonly maxCost: bigint;
}

/**
 * The contract on its chain, as settlement needs it. Methods reject with a ComputeError UNAVAILABLE while something
 * outside prevents them: the RPC, a missing contract, a recorder without coins. Its message says what to do.
 */
export interface Chain {
  readonly chainId: number;
  readonly contract: Address;
  identify(): Promise<ChainIdentity>;
  /** The id that the contract expects next. */
  nextBatchId(at: BlockTag): Promise<number>;
  /** Root of a recorded batch; null when the contract holds none. */
  rootOf(batchId: number, at: BlockTag): Promise<Hex | null>;
  /**
   * The gas that recording the credits would take now. Rejects with a {@link ContractRefusal}, and with
   * {@link BatchTooLarge} when no node would accept such a transaction.
   */
  estimate(batch: BatchContent): Promise<bigint>;
  /**
   * Signs and sends the batch with the nonce that the chain expects now. If that is still the nonce of `replacing`, the
   * fee is at least a tenth higher. Resolves once the RPC accepted the transaction; only `rootOf` shows that it was
   * included. Rejects with a {@link ContractRefusal} when the contract would refuse it.
   */
  send(batch: BatchContent, replacing?: SentTransaction): Promise<SentTransaction>;
  /** The transaction and block that recorded a batch, from the event log of the last days; null if it has none. */
  recording(batchId: number): Promise<{ readonly transaction: Hex; readonly block: number } | null>;
  /** Units of a wallet at the latest block. */
  computeUnits(provider: Address): Promise<bigint>;
}

/** The contract would refuse a call. */
export class ContractRefusal extends Error {
  override readonly name = "ContractRefusal";
  /** Name of the Solidity error; "unknown" when the contract's interface has no such error. */
  readonly error: string;
  /** Its arguments, in order. */
  readonly values: readonly unknown[];

  constructor(error: string, values: readonly unknown[]) {
    super(`the contract refuses: ${error}(${values.join(", ")})`);
    this.error = error;
    this.values = values;
  }
}

/** The nodes of the chain accept no transaction of this size or possible cost. */
export class BatchTooLarge extends Error {
  override readonly name = "BatchTooLarge";
}
