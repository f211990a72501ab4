/** A daemon that knows the echo kind only. A task with the input "hold" ends when it is stopped. */
import type { Execution, ExecutionIo, ExecutorFactory, Work } from "@proof-of-compute/daemon/kinds/kind";
import { main } from "@proof-of-compute/daemon/program";
import { KindRegistry } from "@proof-of-compute/proto/kinds";
import type { EchoSpec } from "@proof-of-compute/proto/task";
import { EchoExecutor } from "../echo/daemon.ts";

const HOLD = new TextEncoder().encode("hold");

function holdingExecutor(): EchoExecutor {
  const executor = new EchoExecutor();
  const execute = (work: Work<EchoSpec>, { signal }: ExecutionIo): Execution => {
    if (Buffer.compare(work.spec.input, HOLD) !== 0) return EchoExecutor.prototype.execute(work);
    return { done: new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason))) };
  };
  return Object.assign(executor, { execute });
}

const holding: ExecutorFactory = { name: "echo", create: holdingExecutor };

await main(process.argv.slice(2), new KindRegistry([holding]));
