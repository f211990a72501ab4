import { untrack } from "svelte";
import { api, call, isAbort, isSignedOut, type Task, type TaskState } from "#lib/api/client.ts";

const FINAL: ReadonlySet<TaskState> = new Set<TaskState>(["recorded", "failed", "cancelled"]);
const RETRY_MS = 3_000;

/** Whether a task can no longer change. */
export function isFinal(task: Task): boolean {
  return FINAL.has(task.state);
}

/**
 * One task, kept current. Each server-sent event carries the whole view, so a lost connection loses nothing: the next event
 * has everything.
 */
export class LiveTask {
  view: Task = $state.raw(undefined as never);
  /** False while it reconnects. */
  connected = $state(true);

  constructor(view: Task) {
    this.view = view;
  }

  /** Follows the task until it is final, the session ends, or the returned function is called. */
  follow(): () => void {
    const stopped = new AbortController();
    // An effect that calls this must not run again after each event.
    untrack(() => {
      if (!isFinal(this.view)) this.#open(stopped.signal);
    });
    return () => {
      stopped.abort();
      this.connected = true;
    };
  }

  /** Reads the task once. */
  async refresh(signal?: AbortSignal): Promise<void> {
    this.view = await call(
      api.GET("/api/tasks/{id}", { params: { path: { id: this.view.id } }, signal: signal ?? null }),
    );
  }

  #open(signal: AbortSignal): void {
    const source = new EventSource(`/api/tasks/${this.view.id}/events`);
    signal.addEventListener("abort", () => source.close(), { once: true });
    source.addEventListener("open", () => {
      this.connected = true;
    });
    source.addEventListener("message", ({ data }: MessageEvent<string>) => {
      this.connected = true;
      this.view = JSON.parse(data);
      if (isFinal(this.view)) source.close();
    });
    source.addEventListener("error", () => {
      this.connected = false;
      // The browser reconnects unless the answer was not a stream: a restart behind a proxy, or a rate limit.
      if (source.readyState === EventSource.CLOSED) this.#reopenLater(signal);
    });
  }

  #reopenLater(signal: AbortSignal): void {
    const timer = setTimeout(async () => {
      try {
        await this.refresh(signal);
      } catch (error) {
        if (isAbort(error) || isSignedOut(error)) return;
      }
      if (isFinal(this.view)) this.connected = true;
      else this.#open(signal);
    }, RETRY_MS);
    signal.addEventListener("abort", () => clearTimeout(timer), { once: true });
  }
}
