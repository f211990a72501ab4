import type { Hex } from "@proof-of-compute/proto";
import type { Logger } from "pino";
import type { CoordinatorRecord, Owner } from "../../domain/owner.ts";
import type { TaskState } from "../../domain/task.ts";
import type { Clock } from "../../ports/clock.ts";
import type { PeerLink } from "../../ports/peers.ts";
import type { Store } from "../../ports/store.ts";
import { logFailure } from "../../util/log-failure.ts";
import type { TaskEvents } from "./task-events.ts";

/** Between two looks, in milliseconds; jittered by a quarter so that coordinators do not ask in step. */
const LOOK_MS = 1_000;

/** Batches that are looked at; an older one that still moves shows when a stream is pinged. */
const NEWEST_BATCHES = 5;

export interface TaskWatchComponents {
  readonly store: Pick<Store, "taskVersions" | "task" | "batches">;
  readonly events: Pick<TaskEvents, "watched" | "publish" | "publishAll">;
  readonly peers: {
    /** Where a coordinator that lives is reached; undefined for this one. */
    addressOf(owner: Owner): string | undefined;
    others(): readonly CoordinatorRecord[];
  };
  readonly link: Pick<PeerLink, "progress">;
  readonly clock: Clock;
  readonly logger: Logger;
  /** 0 to 1. */
  readonly random: () => number;
}

/** A watched task as last looked at. */
interface Watched {
  readonly version: number;
  readonly state: TaskState;
  readonly owner: Owner | undefined;
  progress: number | undefined;
}

/**
 * Finds what other coordinators change of the tasks that somebody watches here, and publishes it as a change of our own. So
 * whoever follows a task stays where he is while its owners come and go: state is synchronised, no stream is passed on.
 * It asks the store nothing while nobody watches, or while there is no other coordinator.
 */
export class TaskWatch {
  readonly #components: TaskWatchComponents;
  #seen = new Map<Hex, Watched>();
  #batches: string | undefined;
  #looking: Promise<void> | undefined;
  #cancelTimer: (() => void) | undefined;
  #failing = false;

  constructor(components: TaskWatchComponents) {
    this.#components = components;
  }

  /** Safe to repeat. */
  start(): void {
    if (!this.#cancelTimer) this.#schedule();
  }

  /** Lets the look under way end. Safe to repeat. */
  async stop(): Promise<void> {
    this.#cancelTimer?.();
    this.#cancelTimer = undefined;
    await this.#looking;
  }

  /** How far a watched task has come that runs at another coordinator, 0 to 1, as that one last said. */
  progressOf(taskId: Hex): number | undefined {
    return this.#seen.get(taskId)?.progress;
  }

  #schedule(): void {
    const { clock, random } = this.#components;
    this.#cancelTimer = clock.after(LOOK_MS * (0.75 + random() / 2), () => {
      this.#looking = this.#look().finally(() => {
        this.#looking = undefined;
        if (this.#cancelTimer) this.#schedule();
      });
    });
  }

  async #look(): Promise<void> {
    const { events, peers, logger } = this.#components;
    const ids = peers.others().length > 0 ? events.watched() : [];
    if (ids.length === 0) {
      this.#seen.clear();
      this.#batches = undefined;
      return;
    }
    try {
      const { seen, changed } = await this.#readTasks(ids);
      const batches = await this.#readBatches(seen);
      const batchesMoved = this.#batches !== undefined && batches !== undefined && batches !== this.#batches;
      // Only now that everything was read: what a failed look found has to be found again.
      this.#seen = seen;
      this.#batches = batches;
      if (batchesMoved) events.publishAll();
      else for (const id of changed) events.publish(id);
      await this.#askProgress();
      this.#failing = false;
    } catch (error) {
      // One line for the whole time that the store is away.
      if (!this.#failing) logFailure(logger, error, "watched tasks could not be looked at; trying again");
      this.#failing = true;
    }
  }

  /** The tasks as they are now; a change is also that somebody watches since the last look, or that a task is gone. */
  async #readTasks(ids: readonly Hex[]): Promise<{ seen: Map<Hex, Watched>; changed: readonly Hex[] }> {
    const { store } = this.#components;
    const versions = new Map((await store.taskVersions(ids)).map(({ id, version }) => [id, version]));
    const changed = ids.filter((id) => versions.get(id) !== this.#seen.get(id)?.version);
    const seen = new Map<Hex, Watched>();
    for (const id of versions.keys()) {
      const known = this.#seen.get(id);
      if (known) seen.set(id, known);
    }
    for (const task of await Promise.all(changed.map((id) => store.task(id)))) {
      if (task) {
        seen.set(task.id, { version: task.version, state: task.state, owner: task.owner, progress: undefined });
      }
    }
    return { seen, changed };
  }

  /** What shows of the newest batches; undefined while no watched task shows a batch. */
  async #readBatches(seen: ReadonlyMap<Hex, Watched>): Promise<string | undefined> {
    if (!seen.values().some(({ state }) => state === "verified")) return undefined;
    const { items } = await this.#components.store.batches({ limit: NEWEST_BATCHES });
    return items.map(({ id, state, transaction, block }) => [id, state, transaction, block].join(":")).join();
  }

  async #askProgress(): Promise<void> {
    const { peers, link, events } = this.#components;
    const running = new Map<string, Hex[]>();
    for (const [id, { state, owner }] of this.#seen) {
      const address = state === "running" && owner ? peers.addressOf(owner) : undefined;
      if (address === undefined) continue;
      const ids = running.get(address) ?? [];
      running.set(address, ids);
      ids.push(id);
    }
    await Promise.all(
      Array.from(running, async ([address, ids]) => {
        for (const [id, progress] of await link.progress(address, ids)) {
          const watched = this.#seen.get(id);
          if (!watched || watched.progress === progress) continue;
          watched.progress = progress;
          events.publish(id);
        }
      }),
    );
  }
}
