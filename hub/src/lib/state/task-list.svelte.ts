import { SvelteMap } from "svelte/reactivity";
import { api, call, isAbort, messageOf, type Task } from "#lib/api/client.ts";

const PAGE = 10;

/** The signed-in wallet's tasks, newest first: the newest page kept current, older pages as they are asked for. */
export class TaskList {
  readonly #tasks = new SvelteMap<string, Task>();
  readonly items = $derived(
    [...this.#tasks.values()].sort((a, b) => b.createdAt - a.createdAt || (a.id < b.id ? 1 : -1)),
  );
  loaded = $state(false);
  loadingMore = $state(false);
  error = $state<string>();
  /** Undefined until a page was read, null when there are no older ones. */
  #cursor = $state<string | null>();
  readonly hasMore = $derived(typeof this.#cursor === "string");

  /** Puts a task that is known from elsewhere into the list, or its newer view in place of the older. */
  put(task: Task): void {
    this.#tasks.set(task.id, task);
  }

  /** Reads the newest page. */
  async refresh(signal?: AbortSignal): Promise<void> {
    await this.#read(undefined, signal);
  }

  /** Reads the next older page. */
  async more(): Promise<void> {
    if (typeof this.#cursor !== "string") return;
    this.loadingMore = true;
    await this.#read(this.#cursor);
    this.loadingMore = false;
  }

  async #read(cursor: string | undefined, signal?: AbortSignal): Promise<void> {
    try {
      const query = cursor === undefined ? { limit: PAGE } : { limit: PAGE, cursor };
      const page = await call(api.GET("/api/tasks", { params: { query }, signal: signal ?? null }));
      for (const task of page.items) this.put(task);
      // The end of the list is where the last page asked for ended; reading the newest again does not move it.
      if (cursor !== undefined || this.#cursor === undefined) this.#cursor = page.cursor ?? null;
      this.loaded = true;
      this.error = undefined;
    } catch (error) {
      if (!isAbort(error)) this.error = messageOf(error);
    }
  }
}
