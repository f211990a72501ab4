import { MemoryBlobs } from "@proof-of-compute/coordinator/adapters/memory/blobs";
import { ManualClock } from "../support/manual-clock.ts";
import { describeBlobs } from "./blobs.ts";

describeBlobs("MemoryBlobs", async () => {
  const clock = new ManualClock();
  const blobs = new MemoryBlobs({ clock });
  return { blobs, reopen: async () => blobs, makeOlder: async (ms) => clock.jump(ms) };
});
