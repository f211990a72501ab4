import { MemoryStore } from "@proof-of-compute/coordinator/adapters/memory/store";
import { describeStore } from "./store.ts";

describeStore("MemoryStore", async () => {
  const store = new MemoryStore();
  await store.start();
  const reopen = async () => {
    await store.stop();
    await store.start();
    return store;
  };
  return { store, reopen };
});
