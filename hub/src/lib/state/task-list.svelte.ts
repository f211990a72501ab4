import { api, call, isAbort, isSignedOut, messageOf, type Task } from "#lib/api/client.ts";
import { isFinal } from "./live-task.svelte.ts";

const PAGE = 10;
/** The largest page of the API. */
const MAX_PAGE = 100;

/** The signed-in wallet's tasks: the newest ones without a gap, as far down as somebody asked for. */
export class TaskList {
  items: readonly Task[] = $state.raw([]);
  loaded = $state(false);
  loadingMore = $state(false);
  error = $state<string>();
  /** Cursor of the page after `items`; undefined when there is none. */
  #cursor = $state<string>();
  readonly hasMore = $derived(this.#cursor !== undefined);
  #readings = 0;

  /** Replaces a task in the list, if it is there, with a newer view of it. */
  put(task: Task): void {
    this.items = this.items.map((known) => (known.id === task.id ? task : known));
  }

  /** Reads the newest page, and further down to the oldest task that can still change. */
  refresh(signal?: AbortSignal): Promise<void> {
    return this.#attempt(async () => {
      const turn = ++this.#readings;
      const read: Task[] = [];
      let cursor: string | undefined;
      let reached = -1;
      do {
        const page = await this.#page(Math.max(PAGE, this.#unfinished() - reached), cursor, signal);
        read.push(...page.items);
        cursor = page.cursor;
        const last = read.at(-1)?.id;
        reached = this.items.findIndex(({ id }) => id === last);
      } while (cursor !== undefined && reached !== -1 && reached < this.#unfinished());
      // The reading that started last counts, whichever ends first.
      if (turn !== this.#readings) return;
      // When the new rows do not reach the old ones, there are tasks in between: the list starts over.
      if (cursor === undefined || reached === -1) {
        this.items = read;
        this.#cursor = cursor;
      } else this.items = [...read, ...this.items.slice(reached + 1)];
      this.loaded = true;
    });
  }

  /** Reads the next older page. */
  async more(): Promise<void> {
    const cursor = this.#cursor;
    if (cursor === undefined) return;
    this.loadingMore = true;
    await this.#attempt(async () => {
      const page = await this.#page(PAGE, cursor);
      // Otherwise the list started over, and this page does not continue it.
      if (cursor !== this.#cursor) return;
      this.items = [...this.items, ...page.items];
      this.#cursor = page.cursor;
    });
    this.loadingMore = false;
  }

  /** Index of the oldest task that can still change; -1 if none can. */
  #unfinished(): number {
    return this.items.findLastIndex((task) => !isFinal(task));
  }

  #page(limit: number, cursor: string | undefined, signal?: AbortSignal) {
    const query = { limit: Math.min(limit, MAX_PAGE), ...(cursor !== undefined && { cursor }) };
    return call(api.GET("/api/tasks", { params: { query }, signal: signal ?? null }));
  }

  async #attempt(read: () => Promise<void>): Promise<void> {
    try {
      await read();
      this.error = undefined;
    } catch (error) {
      // Without a session there is no list: the page asks to sign in.
      if (!isAbort(error) && !isSignedOut(error)) this.error = messageOf(error);
    }
  }
}
