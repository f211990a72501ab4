import type { BatchStore } from "../../ports/batches.ts";
import type { Chain } from "../../ports/chain.ts";
import type { ClusterStore } from "../../ports/cluster.ts";
import type { Store } from "../../ports/store.ts";

/** The local chain loses its state when it stops, so a store of it may be bound to one contract after another. */
const LOCAL_CHAIN_ID = 31337;

export interface BindInit {
  /** Accept a store of another contract, if nothing in it was made for that contract. */
  readonly rebind?: boolean;
}

/** What binding reads and writes. */
export type BindableStore = Pick<ClusterStore, "bind" | "boundTo"> &
  Pick<BatchStore, "batches"> &
  Pick<Store, "totals">;

/** Binds the store to the contract of settlement. Rejects with STORE_BOUND_ELSEWHERE. */
export async function bindStore(
  { store, chain }: { readonly store: BindableStore; readonly chain: Pick<Chain, "chainId" | "contract"> },
  init: BindInit,
): Promise<void> {
  const { chainId, contract } = chain;
  const isLocal = async () => chainId === LOCAL_CHAIN_ID && (await store.boundTo())?.chainId === LOCAL_CHAIN_ID;
  const rebind = (await isLocal()) || (init.rebind === true && (await isUnused(store)));
  await store.bind({ chainId, address: contract }, rebind);
}

/** Whether the store holds nothing that was made for a contract. A spec names its contract, so its receipt is void elsewhere. */
async function isUnused(store: Pick<Store, "totals" | "batches">): Promise<boolean> {
  const { tasks, receipts } = await store.totals();
  const { items } = await store.batches({ limit: 1 });
  return receipts + items.length + Object.values(tasks).reduce((sum, count) => sum + count, 0) === 0;
}
