import { Piscina } from "piscina";
import type { CheckPool } from "../../kinds/kind.ts";

/** Worker threads for checks of results, which would block the event loop. */
export class WorkerCheckPool implements CheckPool {
  readonly threads: number;
  readonly #pool: Piscina;

  constructor(init: { readonly threads: number }) {
    this.threads = init.threads;
    this.#pool = new Piscina({
      minThreads: init.threads,
      maxThreads: init.threads,
      idleTimeout: Number.POSITIVE_INFINITY,
    });
  }

  run<Task, Answer>(worker: URL, task: Task, transfer: readonly ArrayBuffer[] = []): Promise<Answer> {
    return this.#pool.run(task, { filename: worker.href, transferList: [...transfer] });
  }

  /** Resolves once the running checks have ended. */
  async stop(): Promise<void> {
    await this.#pool.close();
  }
}
