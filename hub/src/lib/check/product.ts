/** What Freivalds' check needs. */
export interface ProductCheck {
  readonly task: { readonly seed: Uint8Array; readonly n: number; readonly k: number };
  readonly output: Uint8Array;
  readonly outputDigest: Uint8Array;
}

/** Checks a product in a worker. */
export function checkProductInWorker(check: ProductCheck): Promise<boolean> {
  const worker = new Worker(new URL("./product.worker.ts", import.meta.url), { type: "module" });
  return new Promise<boolean>((resolve, reject) => {
    worker.addEventListener("message", ({ data }) => resolve(data));
    worker.addEventListener("error", ({ message }) => reject(new Error(message || "the check could not be started")));
    worker.postMessage(check);
  }).finally(() => worker.terminate());
}
