import { writeFile } from "node:fs/promises";
import { availableParallelism } from "node:os";
import { join } from "node:path";
import { matmulRateKey } from "@proof-of-compute/daemon/kinds/matmul/executor";
import { keyOf, RATES_FILE } from "@proof-of-compute/daemon/kinds/rates";

/** Writes what a daemon with that many slots would measure, so that it starts without measuring. */
export async function keepRate(dataDir: string, slots: number, unitsPerSecond: number): Promise<void> {
  const key = keyOf({ rateKey: matmulRateKey(Math.min(1, availableParallelism() / slots)) });
  await writeFile(join(dataDir, RATES_FILE), JSON.stringify({ matmul: { key, unitsPerSecond } }));
}
