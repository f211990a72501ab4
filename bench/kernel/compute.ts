/** What is measured: the daemon's executor, from a task to its output and digest, on as many threads as the argument says. */
import { MatmulExecutor } from "@proof-of-compute/daemon/kinds/matmul";
import { contend } from "../contender.ts";
import { laps } from "./laps.ts";
import { ASSIGNMENT, TASK } from "./load.ts";

const threads = Number(process.argv[2]);
const executor = new MatmulExecutor({ threads });
const { signal } = new AbortController();

async function compute(): Promise<void> {
  await executor.execute({ ...ASSIGNMENT, spec: TASK }, { signal }).done;
}

// Once on every thread, so that the engine has optimized the kernel.
await Promise.all(Array.from({ length: threads }, compute));
contend(
  "",
  (milliseconds) => laps(threads, milliseconds, compute),
  () => executor.stop(),
);
