import type { Address } from "@proof-of-compute/proto";
import { aBatch, aTask } from "@proof-of-compute/tests/conformance/fixtures";
import { expect, test } from "vitest";
import { MemoryStore } from "../../adapters/memory/store.ts";
import { bindStore } from "./bind.ts";

const OURS = `0x${"11".repeat(20)}` as Address;
const ANOTHER = `0x${"22".repeat(20)}` as Address;

type Bound = { readonly chainId: number; readonly address: Address };

/** Binds a store that was used with `bound` to another contract. */
async function binds(
  bound: Bound,
  { chainId, address, rebind = false }: Bound & { readonly rebind?: boolean },
  store = new MemoryStore(),
): Promise<true> {
  await store.start();
  await store.bind(bound, false);
  await bindStore({ store, chain: { chainId, contract: address } }, { rebind });
  expect(await store.boundTo()).toEqual({ chainId, address });
  return true;
}

const LOCAL = { chainId: 31_337, address: ANOTHER };

test.each([50, 51])("a store of chain %d is not bound to the local chain, unless `rebind` is set", async (chainId) => {
  const bound = { chainId, address: OURS };
  await expect(binds(bound, LOCAL)).rejects.toMatchObject({ code: "STORE_BOUND_ELSEWHERE" });
  expect(await binds(bound, { ...LOCAL, rebind: true })).toBe(true);
});

test.each([
  ["a task", (store: MemoryStore) => store.insertTask(aTask(1))],
  ["a batch that only the chain knows", (store: MemoryStore) => store.insertBatch(aBatch(1, [], { imported: true }))],
])("%s keeps its store at the contract that it was made for", async (_, fill) => {
  const store = new MemoryStore();
  await store.start();
  await fill(store);
  const moved = binds({ chainId: 31_337, address: OURS }, { chainId: 50, address: ANOTHER, rebind: true }, store);
  await expect(moved).rejects.toMatchObject({ code: "STORE_BOUND_ELSEWHERE" });
});

test("a store of the local chain is bound to each new contract", async () => {
  expect(await binds({ chainId: 31_337, address: OURS }, LOCAL)).toBe(true);
});
