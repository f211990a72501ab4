import { untrack } from "svelte";

/**
 * Calls `read` at once and then `every` so many ms, one call at a time, while the page is visible; returns what stops
 * it. The signal ends a call that is under way.
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

  // An effect that calls this must not run again with what the reading touches.
  untrack(() => void round());
  document.addEventListener("visibilitychange", shown, { signal: stopped.signal });
  stopped.signal.addEventListener("abort", () => clearTimeout(timer));
  return () => stopped.abort();
}
