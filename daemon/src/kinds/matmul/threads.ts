import { webcrypto } from "node:crypto";
import { fileURLToPath } from "node:url";
import type { MatmulTask } from "@proof-of-compute/proto/kinds/matmul";
import { Piscina } from "piscina";
import type { Execution, Output } from "../kind.ts";
import { CELL, type Group, type GroupOutput, SEED_BYTES, SHAPE_SIZE } from "./messages.ts";

/** Large enough to hide the cost of a message, small enough that the first result of a group does not wait long. */
const GROUP_TASKS = 16;
/** Executions at once; a daemon has at most 1,024 slots, and a benchmark some dozens of daemons. */
const MAX_EXECUTIONS = 16_384;
/** Pieces begin and end at a multiple of this many rows. */
const STRIP = 64;
/**
 * Rows that are worth a thread: each thread generates all matrices but the first itself, which takes as long as computing some
 * 40 rows.
 */
const ROWS_PER_THREAD = 256;
/** How long a spare thread stays idle before it ends: longer than the pauses of a node that needs it often. */
const SPARE_THREAD_MS = 30_000;

/** A product, and whether it takes milliseconds. */
export interface Product extends MatmulTask {
  readonly tiny: boolean;
}

interface Job extends Product {
  /** Most threads to spread it over. */
  readonly parts: number;
  readonly cell: number;
  readonly signal: AbortSignal;
  readonly resolve: (output: Output) => void;
  readonly reject: (error: unknown) => void;
}

/** What one thread does of a job. */
interface Piece {
  readonly job: Job;
  readonly from: number;
  readonly to: number;
}

/** How many of `threads` a product of n x n matrices is spread over at most. */
export function partsOf(n: number, threads: number): number {
  return Math.max(1, Math.min(threads, Math.floor(n / ROWS_PER_THREAD)));
}

/**
 * Worker threads for products: one for each, or all idle ones for a large product. Products that arrive while one is spread
 * share the processor with it on spare threads instead of waiting for its end.
 */
export class ProductThreads {
  readonly #threads: number;
  readonly #pool: Piscina<Group, GroupOutput>;
  readonly #cells: Int32Array;
  readonly #freeCells: number[];
  readonly #waiting: Job[] = [];
  /** Groups and spread jobs that run. */
  #running = 0;
  #busyThreads = 0;
  #dispatching = false;

  constructor(threads: number) {
    this.#threads = threads;
    const shared = new SharedArrayBuffer(MAX_EXECUTIONS * CELL.size * Int32Array.BYTES_PER_ELEMENT);
    this.#cells = new Int32Array(shared);
    this.#freeCells = Array.from({ length: MAX_EXECUTIONS }, (_, i) => (MAX_EXECUTIONS - 1 - i) * CELL.size);
    this.#pool = new Piscina<Group, GroupOutput>({
      filename: fileURLToPath(new URL("./worker.ts", import.meta.url)),
      minThreads: threads,
      // One product on all threads, and a spare thread for each other one that may run.
      maxThreads: 2 * threads - 1,
      idleTimeout: SPARE_THREAD_MS,
      recordTiming: false,
      workerData: { cells: shared },
    });
    // A worker that dies between tasks is replaced by the pool; one that dies within a task also rejects that task.
    this.#pool.on("error", () => {});
  }

  /** Computes a product; rejects with the signal's reason soon after that aborts. */
  compute(product: Product, signal: AbortSignal): Required<Execution> {
    const cell = this.#freeCells.pop();
    if (cell === undefined) throw new RangeError(`more than ${MAX_EXECUTIONS} executions at once`);
    this.#cells.fill(0, cell, cell + CELL.size);
    const { promise, resolve, reject } = Promise.withResolvers<Output>();
    const job: Job = { ...product, parts: partsOf(product.n, this.#threads), cell, signal, resolve, reject };
    let ended = false;
    const abort = () => {
      const place = this.#waiting.indexOf(job);
      if (place < 0) return void Atomics.store(this.#cells, cell + CELL.cancelled, 1);
      this.#waiting.splice(place, 1);
      reject(signal.reason);
    };
    const end = () => {
      ended = true;
      signal.removeEventListener("abort", abort);
      this.#freeCells.push(cell);
    };
    promise.then(end, end);
    this.#waiting.push(job);
    if (signal.aborted) abort();
    else signal.addEventListener("abort", abort);
    this.#dispatchSoon();
    return {
      done: promise,
      fraction: () => (ended ? 1 : Atomics.load(this.#cells, cell + CELL.progress) / CELL.scale),
    };
  }

  async stop(): Promise<void> {
    for (const job of this.#waiting.splice(0)) job.reject(new Error("the executor stops"));
    await this.#pool.destroy();
  }

  /** Waits for the end of the running callback, so that the assignments of one frame are distributed together. */
  #dispatchSoon(): void {
    if (this.#dispatching) return;
    this.#dispatching = true;
    queueMicrotask(() => {
      this.#dispatching = false;
      this.#dispatch();
    });
  }

  #dispatch(): void {
    while (this.#waiting.length > 0 && this.#running < this.#threads) {
      const first = this.#waiting[0]!;
      // Below zero while a spread product shares the processor.
      const idle = this.#threads - this.#busyThreads;
      const parts = Math.min(first.parts, Math.floor(idle / this.#waiting.length));
      if (parts > 1) {
        void this.#spread(this.#waiting.shift()!, parts);
        continue;
      }
      const most = Math.min(Math.ceil(this.#waiting.length / (this.#threads - this.#running)), GROUP_TASKS);
      let size = 1;
      if (first.tiny) while (size < most && this.#waiting[size]!.tiny) size++;
      void this.#run(this.#waiting.splice(0, size));
    }
  }

  /** Computes jobs on one thread, one after the other. */
  async #run(jobs: readonly Job[]): Promise<void> {
    this.#running++;
    try {
      const outputs = await this.#compute(jobs.map((job) => ({ job, from: 0, to: job.n })));
      for (const [i, job] of jobs.entries()) settle(job, outputs[i]!);
    } catch (error) {
      for (const job of jobs) job.reject(error);
    } finally {
      this.#running--;
      this.#dispatchSoon();
    }
  }

  /** Computes a job on several threads. */
  async #spread(job: Job, parts: number): Promise<void> {
    this.#running++;
    const boundary = (part: number) => Math.floor((part * job.n) / (parts * STRIP)) * STRIP;
    const pieces = Array.from({ length: parts }, (_, i) => ({ job, from: boundary(i), to: boundary(i + 1) }));
    const stopOthers = (error: unknown) => {
      Atomics.store(this.#cells, job.cell + CELL.cancelled, 1);
      throw error;
    };
    // Waits for all of them, because the cell is reused once the job has ended.
    const ended = await Promise.allSettled(pieces.map((piece) => this.#compute([piece]).catch(stopOthers)));
    this.#running--;
    this.#dispatchSoon();
    try {
      const rows = ended.flatMap((piece) => {
        if (piece.status === "rejected") throw piece.reason;
        return piece.value[0]?.output ?? [];
      });
      if (rows.length < parts) return settle(job, null);
      const output = Buffer.concat(rows);
      // Hashed asynchronously, so that 16 MiB do not block the session's event loop.
      settle(job, { output, outputDigest: new Uint8Array(await webcrypto.subtle.digest("SHA-256", output)) });
    } catch (error) {
      job.reject(error);
    }
  }

  /** Sends pieces to one thread; null for those that were cancelled. */
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
    }
  }
}

/** A null output means that the workers were cancelled. */
function settle(job: Job, output: Output | null): void {
  if (output === null) job.reject(job.signal.reason);
  else job.resolve(output);
}
