import { expect, test } from "vitest";
import { MemoryStore } from "../../adapters/memory/store.ts";
import type { Batch, BatchState } from "../../domain/batch.ts";
import { readChainProgress } from "./chain-progress.ts";

const batch = (id: number, state: BatchState): Batch => ({
  id,
  root: `0x0${id}`,
  credits: [],
  receiptIds: [],
  units: 0n,
  closedAt: id,
  state,
  imported: true,
});

test("every batch that is not recorded is open, also below a recorded one", async () => {
  const store = new MemoryStore();
  await store.start();
  const states = ["recorded", "closed", "recorded", "recorded", "included"] as const;
  for (const [index, state] of states.entries()) await store.insertBatch(batch(index + 1, state));
  const ids = async (next: number) => {
    const { open, recorded, lastId } = await readChainProgress(store, next);
    return [open.map(({ id }) => id), recorded?.id, lastId];
  };
  expect(await ids(6)).toEqual([[2, 5], 4, 5]);
  // Batches that the chain has lost are open again, recorded or not.
  expect(await ids(4)).toEqual([[2, 4, 5], 3, 5]);
  expect(await ids(1)).toEqual([[1, 2, 3, 4, 5], undefined, 5]);
});
