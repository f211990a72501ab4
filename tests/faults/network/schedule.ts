import { seededRandom } from "../../support/process.ts";

/** A kind of fault. */
export type FaultKind =
  | "kill coordinator"
  | "kill daemon"
  | "kill store"
  | "pause coordinator"
  | "pause daemon"
  | "pause store"
  | "pause chain"
  | "clock of coordinator"
  | "clock of daemon"
  | "link"
  | "rpc";

/** A fault of a path: broken connections, silence (both ways, or one way), delay, or a few bytes at a time. */
export type LinkFault = "cut" | "freeze" | "mute" | "deafen" | "slow" | "trickle";
/** A fault of an RPC, named as in `RpcFault`. */
export type RpcMode = "drop" | "drop-response" | "hang" | "error";
/** The paths of a coordinator; `daemon`: the paths of one daemon to all coordinators. */
export type Place = "nodes" | "store" | "peers" | "requesters" | "all" | "daemon";

/** One fault: it begins at `at` and ends after `lasts`, in milliseconds of the run. */
export interface Fault {
  readonly at: number;
  readonly lasts: number;
  readonly kind: FaultKind;
  /** Index of the coordinator or daemon; 0 for store and chain. */
  readonly target: number;
  readonly link?: { readonly how: LinkFault; readonly place: Place };
  readonly rpc?: RpcMode;
  /** The error of the restarted program's wall clock, in ms. */
  readonly shiftMs?: number;
}

/** Names a fault, for people. */
export function nameOf({ kind, link, rpc }: Fault): string {
  if (link) return `${link.how} ${link.place}`;
  return rpc ? `rpc ${rpc}` : kind;
}

/** The members of a network. */
export interface Shape {
  readonly coordinators: number;
  readonly daemons: number;
  readonly store: "sqlite" | "mongodb";
  /** Whether the test owns the database, and may kill and pause it. */
  readonly mayHurtStore: boolean;
}

/** Largest error of a wall clock: possible on a machine without NTP, and more than a lease. */
export const MAX_SHIFT_MS = 15_000;
const LASTS_MS = { min: 300, max: 8_000 };
/** Between two faults of one target: on a busy machine the first may begin late, and must end before the second. */
const REST_MS = 500;
const GAPS_MS = [800, 1_600, 3_200];
/** Chance that a run leaves out a kind: some errors appear only in the absence of others ("swarm testing"). */
const LEFT_OUT = 0.3;
const LINK_FAULTS: readonly LinkFault[] = ["cut", "freeze", "mute", "deafen", "slow", "trickle"];
const RPC_MODES: readonly RpcMode[] = ["drop", "drop-response", "hang", "error"];

/** Relative frequency of each kind. */
const WEIGHTS: Record<FaultKind, number> = {
  "kill coordinator": 4,
  "kill daemon": 4,
  "kill store": 1.5,
  "pause coordinator": 4,
  "pause daemon": 3,
  "pause store": 1.5,
  "pause chain": 1,
  "clock of coordinator": 1.5,
  "clock of daemon": 1,
  link: 8,
  rpc: 2,
};

/** Plans the faults of a run, by time: the same for the same seed, duration and network. No two hit one target at a time. */
export function planFaults(seed: number, durationMs: number, shape: Shape): Fault[] {
  const random = seededRandom(seed);
  const pick = <T>(items: readonly T[]): T => items[Math.floor(random() * items.length)]!;
  const possible = (Object.keys(WEIGHTS) as FaultKind[]).filter(
    (kind) => shape.mayHurtStore || !kind.endsWith("store"),
  );
  const kept = possible.filter(() => random() >= LEFT_OUT);
  const kinds = kept.length >= 4 ? kept : possible;
  const total = kinds.reduce((sum, kind) => sum + WEIGHTS[kind], 0);
  // A fault stops a small network as a whole more often, so leave it more time to work.
  const gap = pick(GAPS_MS) * Math.max(1, 3 / shape.coordinators);
  const busy = new Map<string, number>();
  const faults: Fault[] = [];
  for (let at = gap * random(); at < durationMs; at += -gap * Math.log(1 - random())) {
    const fault = draw(Math.round(at));
    const touched = touches(fault, shape);
    if (touched.some((thing) => (busy.get(thing) ?? 0) > at)) continue;
    for (const thing of touched) busy.set(thing, at + fault.lasts + REST_MS);
    faults.push(fault);
  }
  return faults;

  function draw(at: number): Fault {
    let left = random() * total;
    const kind = kinds.find((each) => {
      left -= WEIGHTS[each];
      return left < 0;
    })!;
    const lasts = Math.round(LASTS_MS.min * (LASTS_MS.max / LASTS_MS.min) ** random());
    if (kind === "link") {
      const places: Place[] = ["nodes", "requesters", "all", "daemon"];
      if (shape.store === "mongodb") places.push("store");
      if (shape.coordinators > 1) places.push("peers");
      const place = pick(places);
      const target = Math.floor(random() * (place === "daemon" ? shape.daemons : shape.coordinators));
      return { at, lasts, kind, target, link: { how: pick(LINK_FAULTS), place } };
    }
    const many = kind.endsWith("daemon") ? shape.daemons : /coordinator$|rpc/.test(kind) ? shape.coordinators : 1;
    const target = Math.floor(random() * many);
    if (kind === "rpc") return { at, lasts, kind, target, rpc: pick(RPC_MODES) };
    if (!kind.startsWith("clock")) return { at, lasts, kind, target };
    return { at, lasts, kind, target, shiftMs: Math.round((2 * random() - 1) * MAX_SHIFT_MS) };
  }
}

/** Names of a fault's targets. */
function touches({ kind, target, link }: Fault, { daemons, coordinators }: Shape): string[] {
  if (kind === "rpc") return [`rpc ${target}`];
  if (!link) return [`${kind.split(" ").at(-1)} ${target}`];
  const nodes = (coordinator: number) =>
    Array.from({ length: daemons }, (_, daemon) => `nodes ${coordinator}/${daemon}`);
  const of = (place: Place) => (place === "nodes" ? nodes(target) : [`${place} ${target}`]);
  if (link.place === "daemon") {
    return Array.from({ length: coordinators }, (_, coordinator) => `nodes ${coordinator}/${target}`);
  }
  if (link.place === "all") return (["nodes", "store", "peers", "requesters"] as const).flatMap(of);
  return of(link.place);
}
