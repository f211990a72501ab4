import type { Address } from "@proof-of-compute/proto";

/**
 * - `off`: no chain is configured; receipts accumulate.
 * - `running`: batches are closed and sent when they are due; `reason`, if any, is a warning.
 * - `standby`: another coordinator records, named in `reason`; this one takes over when that coordinator dies.
 * - `waiting`: something outside prevents recording, see `reason`; settlement continues once it is solved.
 * - `stopped`: the chain contradicts the store; an operator has to act, see `reason`.
 */
export type SettlementState = "off" | "running" | "standby" | "waiting" | "stopped";

/** The state of settlement at this coordinator. */
export interface SettlementStatus {
  readonly state: SettlementState;
  readonly reason?: string | undefined;
  readonly chainId?: number | undefined;
  readonly contract?: Address | undefined;
  readonly recorder?: Address | undefined;
  /** In wei. */
  readonly recorderBalance?: bigint | undefined;
  /** Closed batches that are not recorded yet. */
  readonly openBatches: number;
  /** Id of the newest recorded batch. */
  readonly lastRecorded?: number | undefined;
}
