import type { Batch } from "../../domain/batch.ts";
import type { BatchStore } from "../../ports/batches.ts";
import { BATCH_PAGE } from "./limits.ts";

/** The store's batches, compared with the chain's next id. */
export interface ChainProgress {
  /** Batches that are not recorded, and recorded ones from the chain's next id on; ordered by id. */
  readonly open: readonly Batch[];
  /** The newest recorded batch below the chain's next id. */
  readonly recorded: Batch | undefined;
  readonly lastId: number;
}

/** Reads the batches; `next` is the id that the chain expects next, or infinite to trust the store. */
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
  // Also below the recorded one: a leader that was paused may have set a batch back.
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
