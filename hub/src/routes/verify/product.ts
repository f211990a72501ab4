/** A product of matrices that follow from the seed. */
interface Task {
  readonly seed: Uint8Array;
  readonly n: number;
  readonly k: number;
}

/** What the worker is asked: Freivalds' check of an output, or the output itself. */
export type ProductRequest =
  | { readonly task: Task; readonly output: Uint8Array; readonly outputDigest: Uint8Array }
  | { readonly task: Task };

type Told<T> = { readonly progress: number } | { readonly answer: T };

/** Asks a worker of its own; `report` hears the fraction that is done. Rejects when `signal` ends it. */
function inWorker<T>(request: ProductRequest, report: (fraction: number) => void, signal: AbortSignal): Promise<T> {
  const worker = new Worker(new URL("./product.worker.ts", import.meta.url), { type: "module" });
  return new Promise<T>((resolve, reject) => {
    signal.addEventListener("abort", () => reject(signal.reason), { once: true });
    worker.addEventListener("message", ({ data }: MessageEvent<Told<T>>) => {
      if ("answer" in data) resolve(data.answer);
      else report(data.progress);
    });
    worker.addEventListener("error", ({ message }) => reject(new Error(message || "The worker could not be started.")));
    worker.postMessage(request);
  }).finally(() => worker.terminate());
}

/** Freivalds' check of a product. */
export function checkInWorker(
  request: Extract<ProductRequest, { output: Uint8Array }>,
  report: (fraction: number) => void,
  signal: AbortSignal,
): Promise<boolean> {
  return inWorker(request, report, signal);
}

/** The product itself. */
export function computeInWorker(
  task: Task,
  report: (fraction: number) => void,
  signal: AbortSignal,
): Promise<Uint8Array> {
  return inWorker({ task }, report, signal);
}
