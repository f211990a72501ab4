import type { Batch } from "../domain/batch.ts";
import type { Store } from "../ports/store.ts";

/** Batches read at a time on the way down to the newest recorded one. */
const PAGE = 100;

/** Where the store stands towards the chain. */
export interface SettlementView {
  /** Batches that are not recorded, or are and lie at or above the chain's next id; in order of id. */
  readonly open: readonly Batch[];
  /** The newest recorded batch that the chain counts too. */
  readonly recorded: Batch | undefined;
  readonly lastId: number;
}

/** Reads it; `next` is the id that the chain expects next, infinite where the store's word is enough. */
export async function readSettlementView(store: Store, next: number): Promise<SettlementView> {
  const open: Batch[] = [];
  let recorded: Batch | undefined;
  let cursor: string | undefined;
  do {
    const page = await store.batches({ limit: PAGE, ...(cursor !== undefined && { cursor }) });
    for (const batch of page.items) {
      if (batch.state === "recorded" && batch.id < next) {
        recorded = batch;
        break;
      }
      open.unshift(batch);
    }
    cursor = recorded ? undefined : page.cursor;
  } while (cursor !== undefined);
  return { open, recorded, lastId: open.at(-1)?.id ?? recorded?.id ?? 0 };
}
