import type { Claim, Finding, Kind, Work } from "@proof-of-compute/proto/kinds";

/** A request to the worker: check one of a kind's links, or recompute a result. */
export type EvidenceRequest =
  | { readonly kind: string; readonly link: string; readonly claim: Claim<unknown> }
  | { readonly kind: string; readonly work: Work<unknown> };

/** A message of the worker. */
export type EvidenceAnswer =
  | { readonly progress: number }
  | { readonly answer: Finding | Uint8Array | null }
  | { readonly error: string };

/** How a caller watches and ends a request. */
export interface Follow {
  /** Called with the fraction done, 0 to 1. */
  report(fraction: number): void;
  readonly signal: AbortSignal;
}

/** Starts a worker for one request. Rejects when the request fails or `signal` aborts it. */
function inWorker<T extends Finding | Uint8Array>(request: EvidenceRequest, { report, signal }: Follow): Promise<T> {
  const worker = new Worker(new URL("./evidence.worker.ts", import.meta.url), { type: "module" });
  return new Promise<T>((resolve, reject) => {
    signal.addEventListener("abort", () => reject(signal.reason), { once: true });
    worker.addEventListener("message", ({ data }: MessageEvent<EvidenceAnswer>) => {
      if ("progress" in data) report(data.progress);
      else if ("error" in data) reject(new Error(data.error));
      else resolve(data.answer as T);
    });
    worker.addEventListener("error", ({ message }) => reject(new Error(message || "The worker could not be started.")));
    worker.postMessage(request);
  }).finally(() => worker.terminate());
}

/** Checks one of a kind's links off the page's thread. */
export function checkInWorker(kind: Kind, link: string, claim: Claim<unknown>, follow: Follow): Promise<Finding> {
  return inWorker({ kind: kind.name, link, claim }, follow);
}

/** Recomputes a result off the page's thread. */
export function recomputeInWorker(kind: Kind, work: Work<unknown>, follow: Follow): Promise<Uint8Array> {
  return inWorker({ kind: kind.name, work }, follow);
}
