import type { Blobs } from "../ports/blobs.ts";
import type { Store } from "../ports/store.ts";
import { WorkerCheckPool } from "../services/results/check-pool.ts";
import { ResultIntake } from "../services/results/intake.ts";
import { UploadBudget } from "../services/results/uploads.ts";
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

/** Takes results from nodes. It has nothing to close. */
export function createIntake(
  base: Base,
  { dispatch, settlement, ...components }: Components,
  { UPLOAD_MAX_BYTES: maxBytes }: Pick<Settings, "UPLOAD_MAX_BYTES">,
): ResultIntake {
  const { leases } = dispatch;
  const uploads = new UploadBudget(base, { maxBytes });
  return new ResultIntake({ ...base, ...components, leases, uploads, accepted: () => settlement.nudge() });
}
