import { readFile, writeFile } from "node:fs/promises";
import { cpus } from "node:os";
import { join } from "node:path";
import type { TaskKindName } from "@proof-of-compute/proto";
import type { Logger } from "pino";
import { z } from "zod";
import type { Executor } from "./kind.ts";

/** In the data directory; the file of older versions, rate.json, is not read. */
export const RATES_FILE = "rates.json";

/** Compute units a second of one slot, by kind. */
export type Rates = ReadonlyMap<TaskKindName, number>;

const KeptRates = z.record(z.string(), z.object({ key: z.string(), unitsPerSecond: z.int().positive() }));
type KeptRates = z.output<typeof KeptRates>;

/** Key of an executor's measurement on this machine. */
export function keyOf({ rateKey }: Pick<Executor, "rateKey">): string {
  return [rateKey, process.version, cpus()[0]?.model].join(" ");
}

/**
 * The rate of each executor. A measurement is kept in `dataDir` until the executor, the processor or the version of Node
 * changes; `anew` repeats it. Rejects with an executor's error.
 */
export async function measureRates(
  { executors, logger }: { readonly executors: readonly Executor[]; readonly logger: Logger },
  { dataDir, anew }: { readonly dataDir: string; readonly anew: boolean },
): Promise<Rates> {
  const file = join(dataDir, RATES_FILE);
  const kept = await readRates(file);
  const rates = new Map<TaskKindName, number>();
  const measured: KeptRates = {};
  // One after the other, because measurements would slow each other down.
  for (const executor of executors) {
    const { name } = executor.kind;
    const key = keyOf(executor);
    const known = kept[name];
    if (!anew && known?.key === key) {
      rates.set(name, known.unitsPerSecond);
      continue;
    }
    const unitsPerSecond = Math.max(1, Math.round(await executor.rate()));
    logger.info({ kind: name, unitsPerSecond }, "measured the speed of a slot");
    measured[name] = { key, unitsPerSecond };
    rates.set(name, unitsPerSecond);
  }
  if (Object.keys(measured).length > 0) {
    await writeFile(file, JSON.stringify({ ...kept, ...measured })).catch((error: unknown) => {
      // The disk may be full of results that only a running daemon can deliver.
      logger.warn({ error, file }, "cannot keep the measured speed: the next start measures it again");
    });
  }
  return rates;
}

/** Empty without a readable file: everything is measured then. */
async function readRates(file: string): Promise<KeptRates> {
  try {
    return KeptRates.parse(JSON.parse(await readFile(file, "utf8")));
  } catch {
    return {};
  }
}
