import { MemoryStore } from "./memory-store.ts";
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
