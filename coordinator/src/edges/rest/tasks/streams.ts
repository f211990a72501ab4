import type { Hex } from "@proof-of-compute/proto";
import { sha256, toHex } from "@proof-of-compute/proto";
import type { FastifyReply } from "fastify";
import type { Logger } from "pino";
import { ComputeError } from "../../../domain/errors.ts";
import type { Task } from "../../../domain/task.ts";
import type { Clock } from "../../../ports/clock.ts";
import type { TaskStore } from "../../../ports/tasks.ts";
import type { TaskEvents } from "../../../services/watch/task-events.ts";
import type { Session } from "../auth/sessions.ts";
import type { TaskView } from "./schemas.ts";
import { isSettled } from "./views.ts";

/** Minimum time between two events of one stream; an event carries the newest state. */
const MIN_INTERVAL_MS = 200;
/** Interval of pings. They keep proxies from closing a silent stream, and re-read state that no event announces. */
const PING_MS = 15_000;
/** How long a browser waits before it reopens a lost stream. */
const RETRY_MS = 2_000;

/** What event streams of tasks use. */
export interface TaskStreamsComponents {
  readonly store: Pick<TaskStore, "task">;
  readonly events: TaskEvents;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly sessions: { isOpen(session: Session): boolean };
  render(task: Task): Promise<TaskView>;
}

/** The state of a task as one event. Its id tells whether a reader has that state already. */
interface Snapshot {
  readonly id: string;
  readonly data: string;
  readonly settled: boolean;
}

/**
 * Server-sent events of tasks. They synchronise state: every event carries the whole view, so a reader that missed events
 * is up to date with the next one. The event id is the task's version and a digest of the view, so it needs no memory here
 * and stays valid across restarts.
 */
export class TaskStreams {
  readonly #components: TaskStreamsComponents;
  readonly #limits: { readonly streams: number; readonly streamsPerWallet: number };
  readonly #open = new Set<TaskStream>();

  constructor(
    components: TaskStreamsComponents,
    limits: { readonly streams: number; readonly streamsPerWallet: number },
  ) {
    this.#components = components;
    this.#limits = limits;
  }

  /** Number of open streams. */
  get size(): number {
    return this.#open.size;
  }

  /**
   * Answers with the stream, or with 204 (which stops an EventSource for good) when the reader already has the final
   * state. Throws RATE_LIMITED when too many streams are open.
   */
  async open(
    reply: FastifyReply,
    task: Task,
    session: Session,
    lastEventId: string | undefined,
  ): Promise<FastifyReply> {
    const first = await snapshot(this.#components, task);
    if (first.settled && first.id === lastEventId) return reply.code(204).send();
    // No await from here to the insertion, so that streams opened at once count each other.
    const ofWallet = [...this.#open].filter((stream) => stream.session.wallet === session.wallet).length;
    if (this.#open.size >= this.#limits.streams || ofWallet >= this.#limits.streamsPerWallet) {
      reply.header("retry-after", Math.ceil(RETRY_MS / 1000));
      throw new ComputeError("RATE_LIMITED", "too many event streams are open; close some");
    }
    const stream = new TaskStream(this.#components, { reply, taskId: task.id, session }, () =>
      this.#open.delete(stream),
    );
    this.#open.add(stream);
    stream.start(first, lastEventId);
    return reply;
  }

  /** Ends every stream; browsers reconnect on their own. */
  stop(): void {
    for (const stream of this.#open) stream.stop();
  }
}

async function snapshot({ render }: Pick<TaskStreamsComponents, "render">, task: Task): Promise<Snapshot> {
  const view = await render(task);
  const data = JSON.stringify(view);
  const digest = toHex(sha256(Buffer.from(data)).subarray(0, 6)).slice(2);
  return { id: `${task.version}.${digest}`, data, settled: isSettled(view) };
}

class TaskStream {
  readonly session: Session;
  readonly #components: TaskStreamsComponents;
  readonly #reply: FastifyReply;
  readonly #taskId: Hex;
  readonly #cleanups: (() => void)[];
  #lastId: string | undefined;
  #lastSentAt = Number.NEGATIVE_INFINITY;
  #cancelTimer: () => void = () => {};
  #changed = false;
  #waiting = false;
  #stopped = false;

  constructor(
    components: TaskStreamsComponents,
    init: { readonly reply: FastifyReply; readonly taskId: Hex; readonly session: Session },
    onStop: () => void,
  ) {
    this.#components = components;
    this.#reply = init.reply;
    this.#taskId = init.taskId;
    this.session = init.session;
    this.#cleanups = [onStop];
  }

  start(first: Snapshot, lastEventId: string | undefined): void {
    const { clock, events } = this.#components;
    this.#reply.hijack();
    const raw = this.#reply.raw;
    // The reader has left, and no close event will follow.
    if (raw.destroyed) {
      this.stop();
      return;
    }
    raw.writeHead(200, {
      ...(this.#reply.getHeaders() as Record<string, string>),
      "content-type": "text/event-stream; charset=utf-8",
      "cache-control": "no-store",
      // Keeps nginx from buffering events.
      "x-accel-buffering": "no",
    });
    raw.write(`retry: ${RETRY_MS}\n\n`);
    this.#lastId = lastEventId;
    this.#cleanups.push(events.subscribe(this.#taskId, () => this.#onChange()));
    this.#cleanups.push(clock.every(PING_MS, () => this.#ping()));
    raw.on("close", () => this.stop());
    raw.on("drain", () => this.#changed && this.#onChange());
    this.#send(first);
    // The task may have changed between the first read and the subscription.
    if (!this.#stopped) this.#onChange();
  }

  stop(): void {
    if (this.#stopped) return;
    this.#stopped = true;
    this.#cancelTimer();
    for (const cleanup of this.#cleanups) cleanup();
    this.#reply.raw.end();
  }

  #onChange(): void {
    this.#changed = true;
    // A slow reader gets the newest state once it has read the last event.
    if (this.#waiting || this.#stopped || this.#reply.raw.writableNeedDrain) return;
    this.#waiting = true;
    const { clock } = this.#components;
    const wait = Math.max(0, this.#lastSentAt + MIN_INTERVAL_MS - clock.monotonic());
    this.#cancelTimer = clock.after(wait, () => void this.#refresh());
  }

  async #refresh(): Promise<void> {
    this.#changed = false;
    try {
      const task = await this.#components.store.task(this.#taskId);
      if (!task) return this.stop();
      this.#send(await snapshot(this.#components, task));
    } catch (error) {
      // The reader keeps the last state; the next change or ping tries again.
      this.#components.logger.warn({ err: error, taskId: this.#taskId }, "task event not sent");
    }
    this.#waiting = false;
    if (this.#changed) this.#onChange();
  }

  #send({ id, data, settled }: Snapshot): void {
    if (this.#stopped) return;
    if (id !== this.#lastId) {
      this.#reply.raw.write(`id: ${id}\ndata: ${data}\n\n`);
      this.#lastId = id;
      this.#lastSentAt = this.#components.clock.monotonic();
    }
    if (settled) this.stop();
  }

  #ping(): void {
    if (!this.#components.sessions.isOpen(this.session)) this.stop();
    if (this.#stopped) return;
    if (!this.#reply.raw.writableNeedDrain) this.#reply.raw.write(": ping\n\n");
    this.#onChange();
  }
}
