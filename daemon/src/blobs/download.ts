import { abortable } from "../abortable.ts";

/** A blob on its way, shared by requests. It stops when the last of them leaves. */
export class Download {
  readonly content: Promise<Uint8Array>;
  readonly #abort = new AbortController();
  #requests = 0;

  /** Begins at once. */
  constructor(run: (signal: AbortSignal) => Promise<Uint8Array>) {
    this.content = run(this.#abort.signal);
    this.content.catch(() => {});
  }

  /** Whether every request has left, so that later ones need another download. */
  get stopped(): boolean {
    return this.#abort.signal.aborted;
  }

  /** Settles like the download, or rejects with the reason of the request's own signal. */
  async join(signal: AbortSignal): Promise<Uint8Array> {
    this.#requests++;
    try {
      return await abortable(this.content, signal);
    } finally {
      if (--this.#requests === 0) this.#abort.abort();
    }
  }
}
