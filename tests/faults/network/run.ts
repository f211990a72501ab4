import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { startMongo } from "../../support/mongo.ts";
import { seededRandom } from "../../support/process.ts";
import { check, type Violation } from "./checker.ts";
import { Cluster, get, until, within } from "./cluster.ts";
import { type Evidence, gather, verifyPublished } from "./evidence.ts";
import { type Entry, History } from "./history.ts";
import { Nemesis } from "./nemesis.ts";
import { planFaults, type Shape } from "./schedule.ts";
import { Workload } from "./workload.ts";

/** How long a repaired network may take to answer pending requests, and then to finish and record all tasks. */
const ANSWERS_MS = 90_000;
const REST_MS = 120_000;
const PROGRESS_MS = 10_000;
/** How many of each are checked once the network is at rest. */
const OUTPUTS = 20;
const PUBLISHED_BATCHES = 60;

export interface RunInit {
  readonly seed: number;
  /** How long faults may begin. */
  readonly durationMs: number;
  readonly coordinators: number;
  readonly daemons: number;
  readonly store: Shape["store"];
  readonly requesters?: number;
  /** Keeps the folder of a run without violations too. */
  readonly keep?: boolean;
  readonly onProgress?: (progress: Progress) => void;
}

/** The progress of a run. */
export interface Progress {
  readonly seconds: number;
  readonly accepted: number;
  readonly ended: number;
  readonly faults: number;
}

/** The outcome of a run. */
export interface Outcome {
  readonly seed: number;
  readonly violations: readonly Violation[];
  /** Logs, data and history of the run, if they are kept. */
  readonly folder: string | undefined;
  readonly history: readonly Entry[];
  readonly evidence: Evidence | undefined;
  /** How often each fault happened. */
  readonly faults: ReadonlyMap<string, number>;
  /** The store of the run, for people. */
  readonly store: string;
}

/**
 * Runs one network under one schedule of faults, and judges it. Rejects only when the network cannot be started: with
 * MongoMissing when this machine has no MongoDB.
 */
export async function runFaults(init: RunInit): Promise<Outcome> {
  const { seed, durationMs, coordinators, daemons, store } = init;
  const database = store === "mongodb" ? await startMongo({ durable: true }) : undefined;
  const folder = await mkdtemp(join(tmpdir(), `proof-of-compute-faults-${seed}-`));
  const history = new History(join(folder, "history.jsonl"));
  const violations: Violation[] = [];
  let cluster: Cluster | undefined;
  let evidence: Evidence | undefined;
  let counts: ReadonlyMap<string, number> = new Map();
  const stopping = new AbortController();
  try {
    const shape = { coordinators, daemons, store, mayHurtStore: database?.restartable ?? false };
    cluster = await Cluster.start(folder, shape, database);
    history.add({ type: "run", what: `seed ${seed}, ${JSON.stringify(shape)}` });
    const plan = planFaults(seed, durationMs, shape);
    const nemesis = new Nemesis({ cluster, history });
    counts = nemesis.counts;
    const components = { history, random: seededRandom(seed + 1) };
    const workload = new Workload(components, { doors: cluster.doors, name: String(seed) });
    workload.start(init.requesters ?? 3, 3);
    void report(init, history, nemesis, stopping.signal);
    const observed = await Promise.race([
      alarm("programs run until they are stopped", cluster.supervise(history)),
      alarm("requests get expected answers", workload.failed),
      disturb(cluster, workload, nemesis, history, () => nemesis.run(plan, stopping.signal)),
    ]);
    const shifts = [0, ...plan.flatMap(({ shiftMs }) => shiftMs ?? [])];
    await alarm("programs end when they are stopped", cluster.stopPrograms());
    evidence = await gather(cluster, { ...observed, clocksApartMs: Math.max(...shifts) - Math.min(...shifts) });
    violations.push(...check(history.entries, evidence));
  } catch (error) {
    if (!(error instanceof Broken)) throw error;
    violations.push({ rule: error.rule, detail: error.message });
  } finally {
    stopping.abort();
    await cluster?.kill();
    await database?.stop();
  }
  const kept = violations.length > 0 || init.keep;
  if (!kept) await rm(folder, { recursive: true, force: true, maxRetries: 5 });
  return {
    ...{ seed, violations, evidence, faults: counts, history: history.entries, folder: kept ? folder : undefined },
    store: database?.description ?? "SQLite",
  };
}

/** A promise broken before the network was at rest. */
class Broken extends Error {
  readonly rule: string;

  constructor(rule: string, cause: unknown) {
    super(cause instanceof Error ? `${cause.message}${cause.cause ? `: ${cause.cause}` : ""}` : String(cause), {
      cause,
    });
    this.rule = rule;
  }
}

/** Turns a rejection of `work` into a violation of `rule`. */
async function alarm<T>(rule: string, work: Promise<T>): Promise<T> {
  try {
    return await work;
  } catch (error) {
    throw error instanceof Broken ? error : new Broken(rule, error);
  }
}

/** Waits for work to flow, disturbs it, repairs the network, and waits until it is at rest. */
async function disturb(
  cluster: Cluster,
  workload: Workload,
  nemesis: Nemesis,
  history: History,
  faults: () => Promise<void>,
): Promise<Pick<Evidence, "broken">> {
  const flows = async () => {
    if (workload.ended === 0) throw new Error("no task has ended");
  };
  await alarm("work flows", until("work flows", flows));
  history.add({ type: "run", what: "disturbing" });
  await faults();
  await alarm("programs end when they are stopped", nemesis.heal());
  await alarm("coordinators come back", cluster.ready());
  await alarm("every request gets an answer", within(ANSWERS_MS, "every request has an answer", workload.finish()));
  history.add({ type: "run", what: "every request has an answer" });
  // If it does not come to rest, the rules say so, and name the tasks.
  await until("the network is at rest", () => quiet(cluster), REST_MS).catch((error: Error) =>
    history.add({ type: "run", what: `${error.message}: ${error.cause}` }),
  );
  history.add({ type: "run", what: "the network is at rest" });
  await alarm("outputs can be read", workload.verifyOutputs(OUTPUTS));
  return { broken: await alarm("batches are published", verifyPublished(cluster, PUBLISHED_BATCHES)) };
}

/** Throws until every task has ended, every receipt is recorded, and every node is online. */
async function quiet({ doors, daemons }: Cluster): Promise<void> {
  for (const door of doors) {
    const network = (await get(`${door}/api/network`)) as {
      readonly nodes: { readonly online: number };
      readonly tasks: Readonly<Record<string, number>>;
      readonly unbatchedReceipts: number;
      readonly units: { readonly verified: string; readonly recorded: string };
    };
    const { queued, running, cancelling } = network.tasks;
    const { verified, recorded } = network.units;
    const open = (queued ?? 0) + (running ?? 0) + (cancelling ?? 0);
    const { online } = network.nodes;
    if (open > 0 || network.unbatchedReceipts > 0 || verified !== recorded || online < daemons.length) {
      throw new Error(
        `${door}: ${open} tasks are not final, ${network.unbatchedReceipts} receipts in no batch, ` +
          `${recorded} of ${verified} units recorded, ${online} of ${daemons.length} nodes online`,
      );
    }
  }
}

async function report({ onProgress }: RunInit, history: History, nemesis: Nemesis, signal: AbortSignal): Promise<void> {
  while (onProgress && (await sleep(PROGRESS_MS, true, { signal }).catch(() => false))) {
    const accepted = new Set<string>();
    const ended = new Set<string>();
    for (const entry of history.entries) {
      if (entry.type === "submit" && entry.phase === "ok") accepted.add(entry.taskId!);
      if (entry.type === "read" && Workload.hasEnded(entry.seen.state)) ended.add(entry.taskId);
    }
    const faults = nemesis.counts.values().reduce((sum, count) => sum + count, 0);
    onProgress({ seconds: Math.round(history.now() / 1_000), accepted: accepted.size, ended: ended.size, faults });
  }
}
