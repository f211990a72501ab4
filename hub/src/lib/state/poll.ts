import { untrack } from "svelte";

/**
 * Calls `read` now, and again `every` milliseconds after each call ends, while the page is visible. The returned function
 * stops that and aborts a call in progress.
 */
export function poll(read: (signal: AbortSignal) => Promise<void>, every: number): () => void {
  const stopped = new AbortController();
  let timer: ReturnType<typeof setTimeout> | undefined;

  const round = async () => {
    clearTimeout(timer);
    if (!document.hidden) await read(stopped.signal);
    if (!stopped.signal.aborted) timer = setTimeout(round, every);
  };
  const shown = () => {
    if (!document.hidden) void round();
  };

  // An effect that calls this must not depend on what `read` reads.
  untrack(() => void round());
  document.addEventListener("visibilitychange", shown, { signal: stopped.signal });
  stopped.signal.addEventListener("abort", () => clearTimeout(timer));
  return () => stopped.abort();
}
