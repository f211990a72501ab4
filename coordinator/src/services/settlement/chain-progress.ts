import type { Batch } from "../../domain/batch.ts";
import type { BatchStore } from "../../ports/batches.ts";
import { BATCH_PAGE } from "./limits.ts";

/** Where the store stands towards the chain. */
export interface ChainProgress {
  /** Batches that are not recorded, or are and lie at or above the chain's next id; in order of id. */
  readonly open: readonly Batch[];
  /** The newest recorded batch that the chain counts too. */
  readonly recorded: Batch | undefined;
  readonly lastId: number;
}

/** Reads it; `next` is the id that the chain expects next, infinite where the store's word is enough. */
export async function readChainProgress(store: Pick<BatchStore, "batches">, next: number): Promise<ChainProgress> {
  const open = new Map<number, Batch>();
  let recorded: Batch | undefined;
  let lastId = 0;
  for await (const batch of newestFirst(store, {})) {
    lastId = Math.max(lastId, batch.id);
    if (batch.state === "recorded" && batch.id < next) {
      recorded = batch;
      break;
    }
    open.set(batch.id, batch);
  }
  // Below it too: a leader that was paused may have taken one back on what it knew before.
  for await (const batch of newestFirst(store, { unrecorded: true })) open.set(batch.id, batch);
  return { open: [...open.values()].sort((a, b) => a.id - b.id), recorded, lastId };
}

async function* newestFirst(
  store: Pick<BatchStore, "batches">,
  which: { readonly unrecorded?: true },
): AsyncIterable<Batch> {
  for (let cursor: string | undefined; ; ) {
    const page = await store.batches({ ...which, limit: BATCH_PAGE, ...(cursor !== undefined && { cursor }) });
    yield* page.items;
    cursor = page.cursor;
    if (cursor === undefined) return;
  }
}
