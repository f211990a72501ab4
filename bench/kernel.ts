import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { availableParallelism, tmpdir } from "node:os";
import { join } from "node:path";
import { computeProduct, matmulSeed } from "@proof-of-compute/proto/kinds/matmul";
import { Contender } from "./contender.ts";
import { ASSIGNMENT, OPERATIONS, TASK } from "./kernel/load.ts";
import { Sgemm } from "./kernel/sgemm.ts";
import { type Bench, median } from "./report.ts";

const COMPUTE = new URL("kernel/compute.ts", import.meta.url);
const CHECK = new URL("kernel/check.ts", import.meta.url);
const RATE = "G multiply-accumulates/s";

/** What one round measured. */
interface Round {
  /** Median seconds of a task on one thread, and of one of as many tasks as there are threads. */
  readonly one: number;
  readonly all: number;
  /** Median seconds of a product and of a check. */
  readonly sgemm: number;
  readonly check: number;
}

/** Computing a task against BLAS on one thread, all threads against one, and checking against computing. */
export const kernel: Bench = {
  summary: `matmul n=${TASK.n} k=${TASK.k} on one thread, on all, and checked, beside NumPy's sgemm (needs python3)`,
  async run({ seconds, rounds, note }) {
    const milliseconds = seconds * 1000;
    const threads = availableParallelism();
    const measured: Round[] = [];
    const stops: (() => Promise<void>)[] = [];
    let checkBytes: number;
    try {
      const { sgemm, said } = await Sgemm.start();
      stops.push(() => sgemm.stop());
      note(said);
      const folder = await mkdtemp(join(tmpdir(), "proof-of-compute-bench-"));
      stops.push(() => rm(folder, { recursive: true, force: true }));
      const product = join(folder, "product");
      await writeFile(product, computeProduct({ seed: matmulSeed(ASSIGNMENT), ...TASK })!);
      const start = async (file: URL, argument: string) => {
        const started = await Contender.start(file, [argument]);
        stops.push(() => started.contender.stop());
        const latency = async () => (await started.contender.measure(milliseconds)).p50 / 1000;
        return { latency, said: started.said };
      };
      const check = await start(CHECK, product);
      checkBytes = Number(check.said);
      const one = await start(COMPUTE, "1");
      const all = await start(COMPUTE, String(threads));
      for (let round = 1; round <= rounds; round++) {
        // In turn, so that a slow minute of the machine hits all alike.
        const times: Round = {
          one: await one.latency(),
          sgemm: await sgemm.measure(milliseconds),
          check: await check.latency(),
          all: await all.latency(),
        };
        measured.push(times);
        const figures = Object.entries(times).map(([name, time]) => `${name} ${Math.round(time * 1000)} ms`);
        note(`round ${round} of ${rounds}: ${figures.join(", ")}`);
      }
    } finally {
      for (const stop of stops.reverse()) await stop();
    }
    const of = (figure: (round: Round) => number) => median(measured.map(figure));
    const giga = 1e-9;
    return {
      results: [
        { metric: "kernel", value: of(({ one }) => OPERATIONS / one) * giga, unit: RATE },
        { metric: "openblas sgemm", value: of(({ sgemm }) => TASK.n ** 3 / sgemm) * giga, unit: RATE },
        { metric: "kernel on all threads", value: of(({ all }) => (threads * OPERATIONS) / all) * giga, unit: RATE },
        { metric: "threads", value: threads, unit: "" },
        { metric: "compute", value: of(({ one }) => one) * 1000, unit: "ms" },
        { metric: "check", value: of(({ check }) => check) * 1000, unit: "ms" },
        { metric: "check peak memory", value: checkBytes / 2 ** 20, unit: "MiB" },
      ],
      // Of each round by itself: what disturbs a round disturbs both sides of its ratio.
      ratios: {
        openblas_sgemm: of(({ one, sgemm }) => OPERATIONS / one / (TASK.n ** 3 / sgemm)),
        check_to_compute: of(({ one, check }) => check / one),
        scaling: of(({ one, all }) => (threads * one) / all),
      },
    };
  },
};
