/** What has to hold before `npm run reconcile` reads or changes a store. */
import { existsSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { sqlitePath } from "../../compose/open-store.ts";
import type { Store } from "../../ports/store.ts";
import type { LedgerSource } from "./chain.ts";
import { ReconcileError } from "./errors.ts";
import { livingCoordinators } from "./fix.ts";
import type { Needed } from "./options.ts";

/** A store that belongs to another contract is not compared with this one. */
export async function checkBinding(
  store: Store,
  chainId: number,
  { contract }: LedgerSource,
  say: (line: string) => void,
): Promise<void> {
  const bound = await store.boundTo();
  if (!bound) return say("the store is empty, or was never used with a contract: lost, or not the one you mean?");
  if (bound.chainId === chainId && bound.address === contract) return;
  throw new ReconcileError(
    `the store belongs to ${bound.address} on chain ${bound.chainId}, not to ${contract} on chain ${chainId}: set XDC_RPC_URL and PROOF_OF_COMPUTE_ADDRESS to those`,
  );
}

/** Rejects when a coordinator lives; the returned function looks again, at once. */
export async function checkNobodyLives(
  store: Store,
  { MONGODB_URI, LEASE_TIME }: Needed,
  say: (line: string) => void,
): Promise<() => Promise<void>> {
  const known = await store.coordinators();
  const look = async () => {
    const living = await livingCoordinators(store, known);
    if (living.length > 0) throw new ReconcileError(`stop every coordinator first: ${living.join(", ")} lives`);
  };
  // SQLite's own lock keeps everybody out already.
  if (MONGODB_URI !== undefined && known.length > 0) {
    say(`looking for ${LEASE_TIME / 1_000} s whether a coordinator lives`);
    await sleep(LEASE_TIME);
  }
  await look();
  return look;
}

/** Opening makes a database where there is none, and a mistyped folder must not become the one that is mended. */
export function checkDatabase({ MONGODB_URI, DATA_DIR }: Needed): void {
  const file = sqlitePath(DATA_DIR);
  if (MONGODB_URI !== undefined || existsSync(file)) return;
  throw new ReconcileError(
    `there is no ${file}: give --data-dir or set DATA_DIR, or MONGODB_URI, as for the coordinator; if that database is lost, --fix makes a new one from the chain`,
  );
}
