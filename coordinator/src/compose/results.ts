import type { Blobs } from "../ports/blobs.ts";
import type { Store } from "../ports/store.ts";
import { WorkerCheckPool } from "../services/results/check-pool.ts";
import { ResultIntake } from "../services/results/intake.ts";
import type { Settings } from "../settings/table.ts";
import type { DispatchPart } from "./dispatch.ts";
import { type Base, closing } from "./part.ts";

/** The worker threads that check results. */
export function openCheckPool(
  base: Base,
  { VERIFIER_THREADS: threads }: Pick<Settings, "VERIFIER_THREADS">,
): { readonly pool: WorkerCheckPool } & AsyncDisposable {
  const pool = new WorkerCheckPool({ threads });
  return { pool, ...closing(base, "check pool", () => pool.stop()) };
}

interface Components {
  readonly store: Store;
  readonly blobs: Blobs;
  readonly pool: WorkerCheckPool;
  readonly dispatch: Pick<DispatchPart, "leases">;
  readonly settlement: { nudge(): void };
}

/** What takes results from nodes; it has nothing of its own to close. */
export function createIntake(base: Base, { dispatch, settlement, ...components }: Components): ResultIntake {
  const { leases } = dispatch;
  return new ResultIntake({ ...base, ...components, leases, accepted: () => settlement.nudge() });
}
