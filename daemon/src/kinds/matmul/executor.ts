import { webcrypto } from "node:crypto";
import { availableParallelism } from "node:os";
import { fileURLToPath } from "node:url";
import { checkMatmulSpec, matmulSeed, matmulUnits } from "@proof-of-compute/proto/kinds/matmul";
import { type MatmulSpec, TaskKind, type TaskSpec } from "@proof-of-compute/proto/task";
import { Piscina } from "piscina";
import { type Execution, type Executor, type Output, type Plan, UnsupportedError, type Work } from "../kind.ts";
import { CELL, type Group, type GroupOutput, SEED_BYTES, SHAPE_SIZE } from "./messages.ts";

/** Tasks of at most so many units run for milliseconds and travel in groups. */
const TINY_UNITS = 64n;
/** Large enough to make a message's cost vanish, small enough that the first result of a group does not wait long. */
const GROUP_TASKS = 16;
/** Executions at once; a daemon has at most 1,024 slots, and a benchmark some dozens of daemons. */
const MAX_EXECUTIONS = 16_384;
/** A piece begins and ends at a multiple of so many rows. */
const STRIP = 64;
/**
 * Rows that are worth a thread: each has to make all matrices but the first for itself, which takes as long as to compute some
 * 40 rows.
 */
const ROWS_PER_THREAD = 256;
/** Bytes of main memory an element of a matrix takes: 16-bit for the left factor, for each thread 16-bit for the right one. */
const LEFT_BYTES = 2;
const RIGHT_BYTES = 2;
/** The product: by the thread, joined, and on its way. */
const OUTPUT_BYTES = 3;

interface Job {
  readonly seed: Uint8Array;
  readonly n: number;
  readonly k: number;
  readonly tiny: boolean;
  /** Threads that it may be spread over. */
  readonly parts: number;
  readonly cell: number;
  readonly resolve: (output: Output | null) => void;
  readonly reject: (error: unknown) => void;
}

/** What one thread does of a job. */
interface Piece {
  readonly job: Job;
  readonly from: number;
  readonly to: number;
}

/** Products of matrices over F_251 in worker threads: one each, or a large one on all threads that have nothing else to do. */
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
      filename: fileURLToPath(new URL("./worker.ts", import.meta.url)),
      minThreads: this.#threads,
      maxThreads: this.#threads,
      recordTiming: false,
      workerData: { cells: shared },
    });
    // A worker that dies between tasks is replaced by the pool; one that dies within a task also rejects that task.
    this.#pool.on("error", () => {});
  }

  plan(spec: TaskSpec): Plan {
    return planMatmul(spec, this.#threads);
  }

  execute(work: Work): Execution {
    const { n, k } = matmulOf(work.spec);
    const cell = this.#freeCells.pop();
    if (cell === undefined) throw new RangeError(`more than ${MAX_EXECUTIONS} executions at once`);
    this.#cells.fill(0, cell, cell + CELL.size);
    const { promise, resolve, reject } = Promise.withResolvers<Output | null>();
    const tiny = matmulUnits(n, k) <= TINY_UNITS;
    const job: Job = { seed: matmulSeed(work), n, k, tiny, parts: partsOf(n, this.#threads), cell, resolve, reject };
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
      const free = this.#threads - this.#busyThreads;
      const first = this.#waiting[0]!;
      const parts = Math.min(first.parts, Math.floor(free / this.#waiting.length));
      if (parts > 1) {
        void this.#spread(this.#waiting.shift()!, parts);
        continue;
      }
      const most = Math.min(Math.ceil(this.#waiting.length / free), GROUP_TASKS);
      let size = 1;
      if (first.tiny) while (size < most && this.#waiting[size]!.tiny) size++;
      void this.#run(this.#waiting.splice(0, size));
    }
  }

  /** Computes jobs on one thread, one after the other. */
  async #run(jobs: readonly Job[]): Promise<void> {
    try {
      const outputs = await this.#compute(jobs.map((job) => ({ job, from: 0, to: job.n })));
      for (const [i, job] of jobs.entries()) job.resolve(outputs[i]!);
    } catch (error) {
      for (const job of jobs) job.reject(error);
    }
  }

  /** Computes a job on so many threads. */
  async #spread(job: Job, parts: number): Promise<void> {
    const boundary = (part: number) => Math.floor((part * job.n) / (parts * STRIP)) * STRIP;
    const pieces = Array.from({ length: parts }, (_, i) => ({ job, from: boundary(i), to: boundary(i + 1) }));
    const stopOthers = (error: unknown) => {
      Atomics.store(this.#cells, job.cell + CELL.cancelled, 1);
      throw error;
    };
    // All of them, since the cell is another's once the job has ended.
    const ended = await Promise.allSettled(pieces.map((piece) => this.#compute([piece]).catch(stopOthers)));
    try {
      const rows = ended.flatMap((piece) => {
        if (piece.status === "rejected") throw piece.reason;
        return piece.value[0]?.output ?? [];
      });
      if (rows.length < parts) return job.resolve(null);
      const output = Buffer.concat(rows);
      // The asynchronous one: the session's event loop does not wait for 16 MiB to be hashed.
      job.resolve({ output, outputDigest: new Uint8Array(await webcrypto.subtle.digest("SHA-256", output)) });
    } catch (error) {
      job.reject(error);
    }
  }

  /** Sends pieces to one thread; null for what was cancelled. */
  async #compute(pieces: readonly Piece[]): Promise<(Output | null)[]> {
    this.#busyThreads++;
    const group: Group = {
      seeds: new Uint8Array(pieces.length * SEED_BYTES),
      shapes: new Int32Array(pieces.length * SHAPE_SIZE),
    };
    for (const [i, { job, from, to }] of pieces.entries()) {
      group.seeds.set(job.seed, i * SEED_BYTES);
      group.shapes.set([job.cell, job.n, job.k, from, to], i * SHAPE_SIZE);
    }
    try {
      const { outputs, digests, finished } = await this.#pool.run(group);
      let offset = 0;
      return pieces.map(({ job, from, to }, i) => {
        if (!finished[i]) return null;
        const output = outputs.subarray(offset, offset + (to - from) * job.n);
        offset += output.length;
        return { output, outputDigest: digests.subarray(i * SEED_BYTES, (i + 1) * SEED_BYTES) };
      });
    } finally {
      this.#busyThreads--;
      this.#dispatchSoon();
    }
  }
}

function partsOf(n: number, threads: number): number {
  return Math.max(1, Math.min(threads, Math.floor(n / ROWS_PER_THREAD)));
}

/** What a matmul task will take on at most so many threads; throws {@link UnsupportedError}. */
export function planMatmul(spec: TaskSpec, threads = 1): Plan {
  const { n, k } = matmulOf(spec);
  const units = matmulUnits(n, k);
  return {
    title: `matmul n=${n} k=${k}`,
    units,
    outputBytes: n * n,
    memoryBytes: n * n * (LEFT_BYTES + RIGHT_BYTES * partsOf(n, threads) + OUTPUT_BYTES),
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
