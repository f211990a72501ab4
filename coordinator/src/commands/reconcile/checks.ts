/** The checks of `npm run reconcile` before it reads or changes a store. */
import { existsSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { sqlitePath } from "../../compose/open-store.ts";
import type { Store } from "../../ports/store.ts";
import type { LedgerSource } from "./chain.ts";
import { ReconcileError } from "./errors.ts";
import { livingCoordinators } from "./fix.ts";
import type { Needed } from "./options.ts";

/** Throws for a store that belongs to another contract. */
export async function checkBinding(
  store: Store,
  chainId: number,
  { contract }: LedgerSource,
  say: (line: string) => void,
): Promise<void> {
  const bound = await store.boundTo();
  if (!bound)
    return say("the store is empty, or was never used with a contract: is it lost, or another one than you mean?");
  if (bound.chainId === chainId && bound.address === contract) return;
  throw new ReconcileError(
    `the store belongs to ${bound.address} on chain ${bound.chainId}, not to ${contract} on chain ${chainId}: set XDC_RPC_URL and PROOF_OF_COMPUTE_ADDRESS to those`,
  );
}

/** Rejects when a coordinator is alive; the returned function checks again, without waiting. */
export async function checkNobodyLives(
  store: Store,
  { MONGODB_URI, LEASE_TIME }: Needed,
  say: (line: string) => void,
): Promise<() => Promise<void>> {
  const known = await store.coordinators();
  const look = async () => {
    const living = await livingCoordinators(store, known);
    if (living.length > 0) throw new ReconcileError(`stop every coordinator first: ${living.join(", ")} is alive`);
  };
  // SQLite's own lock keeps other coordinators out.
  if (MONGODB_URI !== undefined && known.length > 0) {
    say(`watching for ${LEASE_TIME / 1_000} s whether a coordinator is alive`);
    await sleep(LEASE_TIME);
  }
  await look();
  return look;
}

/** Throws if there is no database: opening would create one, and the folder may be mistyped. */
export function checkDatabase({ MONGODB_URI, DATA_DIR }: Needed): void {
  const file = sqlitePath(DATA_DIR);
  if (MONGODB_URI !== undefined || existsSync(file)) return;
  throw new ReconcileError(
    `there is no ${file}: give --data-dir or set DATA_DIR, or MONGODB_URI, as for the coordinator; if that database is lost, --fix makes a new one from the chain`,
  );
}
