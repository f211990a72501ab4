import { Piscina } from "piscina";
import { type CheckJob, type PackedJobs, packJobs } from "./check-jobs.ts";
import type { Refusal } from "./verify-worker.ts";

/** Small results that travel to a worker in one message, because the message costs more than their check. */
const GROUP = 32;
/** Output bytes from which a result travels alone. */
const LARGE = 65_536;

interface Waiting {
  readonly job: CheckJob;
  readonly resolve: (refusal: Refusal) => void;
  readonly reject: (error: Error) => void;
}

/** Judges results in worker threads, so that the event loop never computes. */
export class Verifier {
  readonly #pool: Piscina<PackedJobs, Refusal[]>;
  readonly #threads: number;
  #waiting: Waiting[] = [];

  constructor(init: { readonly threads: number }) {
    this.#threads = init.threads;
    this.#pool = new Piscina({
      filename: new URL("./verify-worker.ts", import.meta.url).href,
      minThreads: init.threads,
      maxThreads: init.threads,
      idleTimeout: Number.POSITIVE_INFINITY,
    });
  }

  /** Judges one result. Rejects only when a worker failed, never for a wrong result. */
  check(job: CheckJob): Promise<Refusal> {
    return new Promise((resolve, reject) => {
      if (this.#waiting.push({ job, resolve, reject }) === 1) setImmediate(() => this.#dispatch());
    });
  }

  async stop(): Promise<void> {
    await this.#pool.close();
  }

  /** Spreads what one event-loop turn brought over the threads. */
  #dispatch(): void {
    const waiting = this.#waiting;
    this.#waiting = [];
    const small = waiting.filter(({ job }) => job.output.length <= LARGE);
    const size = Math.min(GROUP, Math.max(1, Math.ceil(small.length / this.#threads)));
    for (let i = 0; i < small.length; i += size) this.#send(small.slice(i, i + size));
    for (const one of waiting) if (one.job.output.length > LARGE) this.#send([one]);
  }

  #send(group: readonly Waiting[]): void {
    const jobs = packJobs(group.map(({ job }) => job));
    this.#pool.run(jobs, { transferList: [jobs.bytes.buffer] }).then(
      (refusals) => {
        for (const [index, { resolve }] of group.entries()) resolve(refusals[index]);
      },
      (error: Error) => {
        for (const { reject } of group) reject(error);
      },
    );
  }
}
