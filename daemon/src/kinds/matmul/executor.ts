import { availableParallelism } from "node:os";
import { kernelDigest, type MatmulSpec, matmul, productOf } from "@proof-of-compute/proto/kinds/matmul";
import type { Execution, ExecutionIo, Executor, ExecutorFactory, Plan, Work } from "../kind.ts";
import { threadRate } from "./rate.ts";
import { ProductThreads, partsOf } from "./threads.ts";

/** Bytes of main memory that an element of a matrix takes: 16-bit for the left factor, for each thread 16-bit for the right one. */
const LEFT_BYTES = 2;
const RIGHT_BYTES = 2;
/** The product: by the thread, joined, and on its way. */
const OUTPUT_BYTES = 3;
/** Longest time for the warm-up, and for the measurement after it, give or take a probe. */
const MEASURE_MS = 1_000;

/** Products of matrices over F_251, in worker threads. */
export class MatmulExecutor implements Executor<MatmulSpec> {
  readonly kind = matmul;
  readonly rateKey: string;
  readonly #threadCount: number;
  readonly #threads: ProductThreads;
  /** A slot's share of a thread while all slots are busy: slots in excess of the threads take turns. */
  readonly #share: number;

  /** `threads` defaults to the machine's cores, `slots` to the threads. */
  constructor({ threads = availableParallelism(), slots = threads }: { threads?: number; slots?: number } = {}) {
    this.#threadCount = threads;
    this.#threads = new ProductThreads(threads);
    this.#share = Math.min(1, threads / slots);
    this.rateKey = matmulRateKey(this.#share);
  }

  async rate(measureMs = MEASURE_MS): Promise<number> {
    const { signal } = new AbortController();
    const compute = async (work: Work<MatmulSpec>) => (await this.#compute(work, signal).done).output;
    return this.#share * (await threadRate(compute, measureMs));
  }

  plan(spec: MatmulSpec): Plan {
    const { n, k } = spec;
    const perElement = LEFT_BYTES + RIGHT_BYTES * partsOf(n, this.#threadCount) + OUTPUT_BYTES;
    return {
      ...matmul.bounds(spec),
      title: `matmul n=${n} k=${k}`,
      memoryBytes: n * n * perElement,
      tiny: isTiny(spec),
    };
  }

  execute(work: Work<MatmulSpec>, { signal }: Pick<ExecutionIo, "signal">): Execution {
    return this.#compute(work, signal);
  }

  stop(): Promise<void> {
    return this.#threads.stop();
  }

  #compute(work: Work<MatmulSpec>, signal: AbortSignal): Execution {
    return this.#threads.compute({ ...productOf(work), tiny: isTiny(work.spec) }, signal);
  }
}

/** What the rate depends on: the kernel, and a slot's share of a thread. */
export function matmulRateKey(share: number): string {
  return `${kernelDigest()} ${share}`;
}

/** Tiny products travel to a thread in groups. */
function isTiny(spec: MatmulSpec): boolean {
  return matmul.isTiny!(spec);
}

/** One thread for each CPU slot, but no more than the machine has cores. */
export const matmulExecutor: ExecutorFactory = {
  name: "matmul",
  create: ({ cpuSlots }) =>
    new MatmulExecutor({ threads: Math.min(cpuSlots, availableParallelism()), slots: cpuSlots }),
};
