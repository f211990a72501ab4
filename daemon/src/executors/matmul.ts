import { availableParallelism } from "node:os";
import { fileURLToPath } from "node:url";
import { checkMatmulSpec, matmulSeed, matmulUnits } from "@proof-of-compute/proto";
import { type MatmulSpec, TaskKind, type TaskSpec } from "@proof-of-compute/proto/task";
import { Piscina } from "piscina";
import { type Execution, type Executor, type Output, type Plan, UnsupportedError, type Work } from "./executor.ts";
import { CELL, type Group, type GroupOutput, SEED_BYTES, SHAPE_SIZE } from "./matmul-messages.ts";

/** Tasks of at most so many units run for milliseconds and travel in groups. */
const TINY_UNITS = 64n;
/** Large enough to make a message's cost vanish, small enough that the first result of a group does not wait long. */
const GROUP_TASKS = 16;
/** Executions at once; a daemon has at most 1,024 slots, and a benchmark some dozens of daemons. */
const MAX_EXECUTIONS = 16_384;
/** Bytes of main memory an element of a matrix takes: 8-bit and 16-bit copies of two factors, sums, the product. */
const BYTES_PER_ELEMENT = 10;

interface Job {
  readonly seed: Uint8Array;
  readonly n: number;
  readonly k: number;
  readonly tiny: boolean;
  readonly cell: number;
  readonly resolve: (output: Output | null) => void;
  readonly reject: (error: unknown) => void;
}

/** Products of matrices over F_251 in worker threads. */
export class MatmulExecutor implements Executor {
  readonly kind = TaskKind.TASK_KIND_MATMUL;
  readonly specCase = "matmul";
  readonly #threads: number;
  readonly #pool: Piscina<Group, GroupOutput>;
  readonly #cells: Int32Array;
  readonly #freeCells: number[];
  readonly #waiting: Job[] = [];
  #busyThreads = 0;
  #dispatching = false;

  /** `threads` defaults to the machine's cores. */
  constructor(init: { readonly threads?: number } = {}) {
    this.#threads = init.threads ?? availableParallelism();
    const shared = new SharedArrayBuffer(MAX_EXECUTIONS * CELL.size * Int32Array.BYTES_PER_ELEMENT);
    this.#cells = new Int32Array(shared);
    this.#freeCells = Array.from({ length: MAX_EXECUTIONS }, (_, i) => (MAX_EXECUTIONS - 1 - i) * CELL.size);
    this.#pool = new Piscina<Group, GroupOutput>({
      filename: fileURLToPath(new URL("./matmul-worker.ts", import.meta.url)),
      minThreads: this.#threads,
      maxThreads: this.#threads,
      recordTiming: false,
      workerData: { cells: shared },
    });
    // A worker that dies between tasks is replaced by the pool; one that dies within a task also rejects that task.
    this.#pool.on("error", () => {});
  }

  plan(spec: TaskSpec): Plan {
    return planMatmul(spec);
  }

  execute(work: Work): Execution {
    const { n, k } = matmulOf(work.spec);
    const cell = this.#freeCells.pop();
    if (cell === undefined) throw new RangeError(`more than ${MAX_EXECUTIONS} executions at once`);
    this.#cells.fill(0, cell, cell + CELL.size);
    const { promise, resolve, reject } = Promise.withResolvers<Output | null>();
    const job: Job = { seed: matmulSeed(work), n, k, tiny: matmulUnits(n, k) <= TINY_UNITS, cell, resolve, reject };
    let ended = false;
    const end = () => {
      ended = true;
      this.#freeCells.push(cell);
    };
    promise.then(end, end);
    this.#waiting.push(job);
    this.#dispatchSoon();
    return {
      done: promise,
      fraction: () => (ended ? 1 : Atomics.load(this.#cells, cell + CELL.progress) / CELL.scale),
      cancel: () => {
        if (ended) return;
        const place = this.#waiting.indexOf(job);
        if (place >= 0) {
          this.#waiting.splice(place, 1);
          resolve(null);
        } else {
          Atomics.store(this.#cells, cell + CELL.cancelled, 1);
        }
      },
    };
  }

  async stop(): Promise<void> {
    for (const job of this.#waiting.splice(0)) job.reject(new Error("the executor stops"));
    await this.#pool.destroy();
  }

  /** Waits for the end of the running callback, so that what one frame assigned is dealt out together. */
  #dispatchSoon(): void {
    if (this.#dispatching) return;
    this.#dispatching = true;
    queueMicrotask(() => {
      this.#dispatching = false;
      this.#dispatch();
    });
  }

  #dispatch(): void {
    while (this.#waiting.length > 0 && this.#busyThreads < this.#threads) {
      const share = Math.ceil(this.#waiting.length / (this.#threads - this.#busyThreads));
      const most = Math.min(share, GROUP_TASKS);
      let size = 1;
      if (this.#waiting[0]!.tiny) while (size < most && this.#waiting[size]!.tiny) size++;
      void this.#run(this.#waiting.splice(0, size));
    }
  }

  async #run(jobs: readonly Job[]): Promise<void> {
    this.#busyThreads++;
    const group: Group = {
      seeds: new Uint8Array(jobs.length * SEED_BYTES),
      shapes: new Int32Array(jobs.length * SHAPE_SIZE),
    };
    for (const [i, job] of jobs.entries()) {
      group.seeds.set(job.seed, i * SEED_BYTES);
      group.shapes.set([job.cell, job.n, job.k], i * SHAPE_SIZE);
    }
    try {
      const { outputs, digests, finished } = await this.#pool.run(group);
      let offset = 0;
      for (const [i, job] of jobs.entries()) {
        if (!finished[i]) {
          job.resolve(null);
          continue;
        }
        const output = outputs.subarray(offset, offset + job.n * job.n);
        offset += output.length;
        job.resolve({ output, outputDigest: digests.subarray(i * SEED_BYTES, (i + 1) * SEED_BYTES) });
      }
    } catch (error) {
      for (const job of jobs) job.reject(error);
    } finally {
      this.#busyThreads--;
      this.#dispatchSoon();
    }
  }
}

/** What a matmul task will take; throws {@link UnsupportedError}. */
export function planMatmul(spec: TaskSpec): Plan {
  const { n, k } = matmulOf(spec);
  const units = matmulUnits(n, k);
  return {
    title: `matmul n=${n} k=${k}`,
    units,
    outputBytes: n * n,
    memoryBytes: n * n * BYTES_PER_ELEMENT,
    tiny: units <= TINY_UNITS,
  };
}

function matmulOf(spec: TaskSpec): MatmulSpec {
  if (spec.kind?.$case !== "matmul") throw new UnsupportedError("not a matmul task");
  const { n, k } = spec.kind.value;
  try {
    checkMatmulSpec(n, k);
  } catch (error) {
    throw new UnsupportedError((error as Error).message, { cause: error });
  }
  return spec.kind.value;
}
