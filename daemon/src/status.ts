import { styleText } from "node:util";
import { type Address, toXdcAddress } from "@proof-of-compute/proto";
import { createLogUpdate } from "log-update";
import type { Daemon, DaemonSnapshot } from "./daemon.ts";
import type { RunningTask } from "./tasks/running-assignment.ts";
import type { RecordedUnits, UnitsReader } from "./units.ts";

const REFRESH_MS = 250;
const BAR_CELLS = 20;
/** Further running tasks share one line. */
const TASK_LINES = 6;

/** What this node is called. */
export interface NodeInfo {
  /** 0x… of 32 bytes. */
  readonly nodeId: string;
  readonly wallet: Address;
}

type Style = Parameters<typeof styleText>[0];
/** Styles a text, or returns it unchanged where colours are not wanted. */
export type Paint = (style: Style, text: string) => string;

/** The live block, with what a provider wants to know at a glance. `now` is in milliseconds since 1970. */
export function render(
  node: NodeInfo,
  snapshot: DaemonSnapshot,
  recorded: RecordedUnits,
  now: number,
  paint: Paint,
): string {
  const row = (name: string, text: string) => `  ${paint("dim", name.padEnd(9))} ${text}`;
  const { accepted, rejected, late, nodeFailures, taskFailures, units } = snapshot.counts;
  const results = [
    `${number(accepted)} accepted`,
    rejected > 0 ? paint("red", `${number(rejected)} rejected`) : "0 rejected",
    ...(late > 0 ? [`${number(late)} late`] : []),
    ...(taskFailures > 0 ? [`${number(taskFailures)} faulty tasks`] : []),
    ...(nodeFailures > 0 ? [paint("red", `${number(nodeFailures)} failed on this node`)] : []),
    ...(snapshot.unacknowledged > 0 ? [`${number(snapshot.unacknowledged)} awaiting a verdict`] : []),
  ];
  return [
    "",
    connectionLine(snapshot, paint),
    row("node", node.nodeId),
    row("wallet", `${node.wallet}  ${paint("dim", toXdcAddress(node.wallet))}`),
    row("tasks", tasksLine(snapshot, paint)),
    ...taskLines(snapshot.tasks, now, paint).map((line) => row("", line)),
    row("results", `${results.join(", ")}; ${number(units)} units since start`),
    row("on chain", recordedLine(recorded, paint)),
  ].join("\n");
}

function connectionLine({ connection, draining }: DaemonSnapshot, paint: Paint): string {
  const say = (style: Style, state: string, text: string) =>
    `${paint(style, "●")} ${paint("bold", state.padEnd(9))} ${text}`;
  if (draining) return say("yellow", "draining", "finishing running tasks; press Ctrl-C again to stop at once");
  switch (connection.phase) {
    case "online":
      return say("green", "online", `${connection.coordinator} ${paint("dim", connection.welcome.coordinatorId)}`);
    case "connecting":
      return say("yellow", "connecting", connection.coordinator);
    case "waiting":
      return say("red", "offline", `${connection.why}; trying again`);
    case "stopped":
      return say("dim", "stopped", "");
  }
}

function tasksLine({ tasks, slots, connection, refusal, draining }: DaemonSnapshot, paint: Paint): string {
  const busy = `${tasks.length} of ${slots} slots busy`;
  if (refusal !== undefined) return `${busy}; ${paint("yellow", `declined the last task: ${refusal}`)}`;
  if (tasks.length > 0) return busy;
  if (draining) return "idle: the node is draining";
  return connection.phase === "online" ? "idle: no task waits for this node" : "idle: no coordinator";
}

function taskLines(tasks: readonly RunningTask[], now: number, paint: Paint): string[] {
  const lines = tasks.slice(0, TASK_LINES).map(({ title, maxUnits, unitsAreExact, fraction, startedAt }) => {
    const done = Math.round(fraction * BAR_CELLS);
    const bar = paint("green", "█".repeat(done)) + paint("dim", "░".repeat(BAR_CELLS - done));
    const percent = `${Math.floor(fraction * 100)} %`.padStart(5);
    const units = `${unitsAreExact ? "" : "up to "}${number(maxUnits)} units`;
    return `${bar} ${percent}  ${title}  ${units}  ${paint("dim", `${Math.floor((now - startedAt) / 1000)} s`)}`;
  });
  return tasks.length > TASK_LINES ? [...lines, paint("dim", `and ${tasks.length - TASK_LINES} more`)] : lines;
}

function recordedLine({ units, chain, problem }: RecordedUnits, paint: Paint): string {
  const trouble = problem === undefined ? "" : paint("yellow", problem);
  if (chain === undefined) return trouble || paint("dim", "waiting for a coordinator to name its chain");
  if (units === undefined) return `${paint("dim", chain)}  ${trouble || paint("dim", "reading")}`;
  return `${paint("bold", `${number(units)} units`)}  ${paint("dim", chain)}  ${trouble}`.trimEnd();
}

function number(value: number | bigint): string {
  return value.toLocaleString("en");
}

/** The live block at the bottom of a terminal, below the log. */
export class StatusScreen {
  readonly #daemon: Daemon;
  readonly #units: UnitsReader;
  readonly #node: NodeInfo;
  readonly #stream: NodeJS.WriteStream;
  readonly #update: ReturnType<typeof createLogUpdate>;
  #timer: NodeJS.Timeout | undefined;

  constructor(
    components: { readonly daemon: Daemon; readonly units: UnitsReader; readonly terminal: Terminal },
    init: { readonly node: NodeInfo },
  ) {
    this.#daemon = components.daemon;
    this.#units = components.units;
    this.#stream = components.terminal.stream;
    this.#update = components.terminal.update;
    this.#node = init.node;
  }

  start(): void {
    this.#timer = setInterval(() => this.#draw(), REFRESH_MS);
    this.#draw();
  }

  /** Leaves the last view on the screen. Safe to repeat. */
  stop(): void {
    if (this.#timer === undefined) return;
    clearInterval(this.#timer);
    this.#timer = undefined;
    this.#draw();
    this.#update.done();
  }

  #draw(): void {
    const paint: Paint = (style, text) => styleText(style, text, { stream: this.#stream });
    this.#update(render(this.#node, this.#daemon.snapshot(), this.#units.recorded, Date.now(), paint));
  }
}

/** A terminal that log lines and the live block share. */
export interface Terminal {
  readonly stream: NodeJS.WriteStream;
  readonly update: ReturnType<typeof createLogUpdate>;
}

/** Takes a terminal; log lines go through `update.persist`. */
export function openTerminal(stream: NodeJS.WriteStream): Terminal {
  return { stream, update: createLogUpdate(stream) };
}
