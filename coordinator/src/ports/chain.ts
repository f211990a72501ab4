import type { Address, Hex } from "@proof-of-compute/proto";
import type { Batch } from "../domain/batch.ts";

/** As of which block a question is asked. What to send is decided at `latest`, what is recorded at `finalized`. */
export type BlockTag = "latest" | "finalized";

/** What the contract needs of a batch. */
export type BatchContent = Pick<Batch, "id" | "root" | "credits">;

/** Who and what the configured contract and recorder are. */
export interface ChainIdentity {
  readonly chainId: number;
  readonly contract: Address;
  /** The wallet that signs batches here. */
  readonly recorder: Address;
  /** Whether the contract lets it. */
  readonly isRecorder: boolean;
  /** Its balance in wei. */
  readonly balance: bigint;
}

/** A batch on its way. */
export interface SentTransaction {
  readonly hash: Hex;
  readonly nonce: number;
  /** Wei a unit of gas that it offers at most. */
  readonly feePerGas: bigint;
  /** The part of it that whoever makes the block may keep. */
  readonly tipPerGas: bigint;
  /** Wei that it can cost at most. */
  readonly maxCost: bigint;
}

/**
 * The contract on its chain, as settlement needs it. Methods reject with a ComputeError UNAVAILABLE, whose message says
 * what to do, while something outside is in the way: the RPC, a missing contract, an empty recorder.
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
   * Gas that recording the credits would take now. Rejects with a {@link ContractRefusal}, and with {@link BatchTooLarge}
   * when no node would take such a transaction.
   */
  estimate(batch: BatchContent): Promise<bigint>;
  /**
   * Signs and sends the batch with the nonce that the chain expects now; while that is still the nonce of `replacing`, with
   * at least a tenth more fee. Resolves once the RPC took it; that it is included is seen by `rootOf` only. Rejects with a
   * {@link ContractRefusal} when the contract would refuse it.
   */
  send(batch: BatchContent, replacing?: SentTransaction): Promise<SentTransaction>;
  /** The transaction and block that recorded a batch, from the event log of the last days, or null. */
  recording(batchId: number): Promise<{ readonly transaction: Hex; readonly block: number } | null>;
  /** Units of a wallet at the latest block. */
  computeUnits(provider: Address): Promise<bigint>;
}

/** The contract would refuse a call. */
export class ContractRefusal extends Error {
  override readonly name = "ContractRefusal";
  /** Name of the Solidity error; "unknown" when the contract gave none that its interface has. */
  readonly error: string;
  /** Its arguments, in order. */
  readonly values: readonly unknown[];

  constructor(error: string, values: readonly unknown[]) {
    super(`the contract refuses: ${error}(${values.join(", ")})`);
    this.error = error;
    this.values = values;
  }
}

/** A transaction with so many credits is longer, or may cost more, than the nodes of a chain take. */
export class BatchTooLarge extends Error {
  override readonly name = "BatchTooLarge";
}
