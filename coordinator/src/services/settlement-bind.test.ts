import type { Address } from "@proof-of-compute/proto";
import { pino } from "pino";
import { expect, test } from "vitest";
import { aBatch, aTask } from "../../../tests/conformance/fixtures.ts";
import { MemoryStore } from "../../../tests/conformance/memory-store.ts";
import { ManualClock } from "../../../tests/support/manual-clock.ts";
import { ComputeError } from "../domain/errors.ts";
import type { Chain } from "../ports/chain.ts";
import type { ReceiptTrees } from "./receipt-trees.ts";
import { Settlement } from "./settlement.ts";

const OURS = `0x${"11".repeat(20)}` as Address;
const ANOTHER = `0x${"22".repeat(20)}` as Address;
const self = { coordinatorId: "a", incarnation: `0x${"33".repeat(16)}` } as const;

/** Whether a settlement starts on a store that was used with `bound` before. */
async function starts(
  bound: { chainId: number; address: Address },
  { chainId, address, rebind = false }: { chainId: number; address: Address; rebind?: boolean },
  store = new MemoryStore(),
): Promise<true> {
  await store.start();
  await store.bind(bound, false);
  const away = () => Promise.reject(new ComputeError("UNAVAILABLE"));
  const settlement = new Settlement(
    {
      store,
      chain: { chainId, contract: address, identify: away, nextBatchId: away } as unknown as Chain,
      peers: { self, isAlive: () => true },
      clock: new ManualClock(),
      logger: pino({ level: "silent" }),
      trees: {} as ReceiptTrees,
    },
    { maxReceipts: 1, maxProviders: 1, maxWaitMs: 1, pollMs: 1, resendMs: 1, rebind },
  );
  await settlement.start();
  expect(await store.boundTo()).toEqual({ chainId, address });
  await settlement.stop();
  return true;
}

const LOCAL = { chainId: 31_337, address: ANOTHER };

test.each([50, 51])("a store of chain %d is refused to the local chain, unless somebody insists", async (chainId) => {
  const bound = { chainId, address: OURS };
  await expect(starts(bound, LOCAL)).rejects.toMatchObject({ code: "STORE_BOUND_ELSEWHERE" });
  expect(await starts(bound, { ...LOCAL, rebind: true })).toBe(true);
});

test.each([
  ["a task", (store: MemoryStore) => store.insertTask(aTask(1))],
  ["a batch that only the chain knows", (store: MemoryStore) => store.insertBatch(aBatch(1, [], { imported: true }))],
])("%s keeps its store at the contract that it was made for", async (_, fill) => {
  const store = new MemoryStore();
  await store.start();
  await fill(store);
  const moved = starts({ chainId: 31_337, address: OURS }, { chainId: 50, address: ANOTHER, rebind: true }, store);
  await expect(moved).rejects.toMatchObject({ code: "STORE_BOUND_ELSEWHERE" });
});

test("a store of the local chain follows its contracts", async () => {
  expect(await starts({ chainId: 31_337, address: OURS }, LOCAL)).toBe(true);
});
