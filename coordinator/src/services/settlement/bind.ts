import type { BatchStore } from "../../ports/batches.ts";
import type { Chain } from "../../ports/chain.ts";
import type { ClusterStore } from "../../ports/cluster.ts";
import type { Store } from "../../ports/store.ts";

/** The chain whose state is gone when it stops: a store of it may be bound to one of its contracts after the other. */
const LOCAL_CHAIN_ID = 31337;

export interface BindInit {
  /** Accept a store that belongs to another contract, while nothing in it names that one. */
  readonly rebind?: boolean;
}

/** What binding reads and writes. */
export type BindableStore = Pick<ClusterStore, "bind" | "boundTo"> &
  Pick<BatchStore, "batches"> &
  Pick<Store, "totals">;

/** Binds the store to the contract that it settles on. Rejects with STORE_BOUND_ELSEWHERE. */
export async function bindStore(
  { store, chain }: { readonly store: BindableStore; readonly chain: Pick<Chain, "chainId" | "contract"> },
  init: BindInit,
): Promise<void> {
  const { chainId, contract } = chain;
  const isLocal = async () => chainId === LOCAL_CHAIN_ID && (await store.boundTo())?.chainId === LOCAL_CHAIN_ID;
  const rebind = (await isLocal()) || (init.rebind === true && (await isUnused(store)));
  await store.bind({ chainId, address: contract }, rebind);
}

/** Whether it holds nothing that was made for a contract: specs name theirs, so what they led to proves nothing elsewhere. */
async function isUnused(store: Pick<Store, "totals" | "batches">): Promise<boolean> {
  const { tasks, receipts } = await store.totals();
  const { items } = await store.batches({ limit: 1 });
  return receipts + items.length + Object.values(tasks).reduce((sum, count) => sum + count, 0) === 0;
}
