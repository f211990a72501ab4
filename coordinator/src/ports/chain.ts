import type { Address, Hex } from "@proof-of-compute/proto";
import type { Batch, Credit } from "../domain/batch.ts";

/** As of which block a question is asked. What to send is decided at `latest`, what is recorded at `finalized`. */
export type BlockTag = "latest" | "finalized";

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

/** The contract on its chain, as settlement needs it. Methods reject with UNAVAILABLE when the RPC is away. */
export interface Chain {
  readonly chainId: number;
  readonly contract: Address;
  identify(): Promise<ChainIdentity>;
  /** The id that the contract expects next. */
  nextBatchId(at: BlockTag): Promise<number>;
  /** Root of a recorded batch; null when the contract holds none. */
  rootOf(batchId: number, at: BlockTag): Promise<Hex | null>;
  /** Gas that recording the credits would take; rejects with the contract's error when it would refuse. */
  estimate(batch: Pick<Batch, "id" | "root" | "credits">): Promise<bigint>;
  /**
   * Signs and sends the batch with the nonce that the chain expects now, or, given `replacing`, with that transaction's
   * nonce and at least a tenth more fee. Resolves once the RPC took it; that it is included is seen by `rootOf` only.
   */
  send(batch: Pick<Batch, "id" | "root" | "credits">, replacing?: SentTransaction): Promise<SentTransaction>;
  /** The transaction and block that recorded a batch, from the event log, or null. */
  recording(batchId: number): Promise<{ readonly transaction: Hex; readonly block: number } | null>;
  computeUnits(provider: Address): Promise<bigint>;
}

/** A batch on its way. */
export interface SentTransaction {
  readonly hash: Hex;
  readonly nonce: number;
  /** Fee a gas in wei that it offers at most. */
  readonly feePerGas: bigint;
}

export type { Credit };
