import { availableParallelism, cpus, totalmem } from "node:os";
import type { Hardware } from "@proof-of-compute/proto/node";

/** Most characters of a processor's name (node.proto). */
const CPU_MODEL_CHARACTERS = 128;

/** Describes this machine. */
export function hardware(): Hardware {
  return {
    cpuModel: (cpus()[0]?.model ?? "")
      .replace(/[^ -~]/g, "")
      .trim()
      .slice(0, CPU_MODEL_CHARACTERS),
    cpuCores: availableParallelism(),
    memoryBytes: BigInt(totalmem()),
    platform: `${process.platform}-${process.arch}`,
  };
}
