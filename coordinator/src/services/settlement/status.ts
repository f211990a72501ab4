import type { Address } from "@proof-of-compute/proto";

/**
 * - `off`: no chain is configured; receipts accumulate.
 * - `running`: batches close and go out as they fall due; a `reason` then warns of what will not go well for long.
 * - `standby`: another coordinator records, as `reason` says; this one takes over when that one is gone.
 * - `waiting`: something outside is in the way, as `reason` says; it goes on by itself.
 * - `stopped`: the chain contradicts the store or the recorder lost its role; somebody has to look.
 */
export type SettlementState = "off" | "running" | "standby" | "waiting" | "stopped";

/** How recording goes. */
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
