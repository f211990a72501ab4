import { hash } from "node:crypto";
import { readFile, writeFile } from "node:fs/promises";
import { cpus } from "node:os";
import { join } from "node:path";
import { kernelDigest, matmulSeed, matmulUnits, referenceCheck } from "@proof-of-compute/proto/kinds/matmul";
import type { Logger } from "pino";
import { z } from "zod";
import { DaemonError } from "../errors.ts";
import type { Executor } from "./kind.ts";

const FILE = "rate.json";
/** What is computed to measure: some 15 ms on a fast thread, and too small for the executor to spread it over several. */
const PROBE = { n: 448, k: 12 } as const;
/** Probes before the clock counts, so that the engine has optimized the kernel. */
const WARM_UP = 10;
/** How long warming up, and then measuring, takes at most, a probe more or less. */
const MEASURE_MS = 1_000;

const WORK = {
  assignmentId: new Uint8Array(16),
  taskId: new Uint8Array(16),
  nodeId: new Uint8Array(32),
  specDigest: new Uint8Array(32),
  spec: {
    chainId: 0n,
    contract: Buffer.alloc(0),
    requester: Buffer.alloc(20),
    deadlineUnixMs: 0n,
    kind: { $case: "matmul", value: PROBE },
  },
} as const;

const Rate = z.object({ key: z.string(), unitsPerSecond: z.int().positive() });

export interface SizingInit {
  /** Keeps the figure for the next start. */
  readonly dataDir: string;
  /** Measure although there is a figure. */
  readonly anew: boolean;
  /** Default: 1 s. */
  readonly measureMs?: number;
}

/**
 * Compute units a second of a matmul task on one thread of this machine: measured with real tasks, once for a kernel, an
 * engine and a processor. Throws a {@link DaemonError} when the machine computes a wrong product.
 */
export async function threadRate(
  { executor, logger }: { readonly executor: Executor; readonly logger: Logger },
  { dataDir, anew, measureMs = MEASURE_MS }: SizingInit,
): Promise<number> {
  const file = join(dataDir, FILE);
  const key = [kernelDigest(), process.version, cpus()[0]?.model].join(" ");
  const known = anew ? undefined : await read(file);
  if (known?.key === key) return known.unitsPerSecond;
  const unitsPerSecond = await measure(executor, measureMs);
  try {
    await writeFile(file, JSON.stringify({ key, unitsPerSecond } satisfies z.output<typeof Rate>));
  } catch (error) {
    // Perhaps the disk is full of results, which only a daemon that starts can deliver.
    logger.warn({ error, file }, "cannot keep the measured rate");
  }
  logger.info({ unitsPerSecond }, "measured a thread of this machine");
  return unitsPerSecond;
}

/** Undefined when there is none that can be read: it is measured again then. */
async function read(file: string): Promise<z.output<typeof Rate> | undefined> {
  try {
    return Rate.parse(JSON.parse(await readFile(file, "utf8")));
  } catch {
    return undefined;
  }
}

async function measure(executor: Executor, measureMs: number): Promise<number> {
  const warm = performance.now() + measureMs;
  for (let i = 0; i < WARM_UP && (i === 0 || performance.now() < warm); i++) await probe(executor);
  const times: number[] = [];
  for (const end = performance.now() + measureMs; times.length === 0 || performance.now() < end; ) {
    const started = performance.now();
    await probe(executor);
    times.push(performance.now() - started);
  }
  // What the engine has made of the kernel by now is what will compute tasks.
  const output = await probe(executor);
  if (!referenceCheck({ seed: matmulSeed(WORK), ...PROBE }, output, hash("sha256", output, "buffer"))) {
    throw new DaemonError("FAILED", "this machine computes wrong products; look for a broken processor or memory");
  }
  // The median: what else the machine does for a moment says nothing of its tasks.
  const time = times.sort((a, b) => a - b)[times.length >> 1]!;
  return Math.max(1, Math.round((Number(matmulUnits(PROBE.n, PROBE.k)) * 1_000) / time));
}

async function probe(executor: Executor): Promise<Uint8Array> {
  const result = await executor.execute(WORK).done;
  if (result === null) throw new Error("the measurement was cancelled");
  return result.output;
}
