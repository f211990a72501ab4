import { setTimeout as sleep } from "node:timers/promises";
import type { Link, Way } from "../../support/link.ts";
import type { RpcFault } from "../../support/rpc-proxy.ts";
import { type Cluster, endInTime } from "./cluster.ts";
import type { History } from "./history.ts";
import type { CoordinatorMember, Member } from "./members.ts";
import { type Fault, type LinkFault, nameOf, type Place, type RpcMode } from "./schedule.ts";

const SHUT: Way = "shut";
const WAYS: Record<Exclude<LinkFault, "cut">, { up?: Way; down?: Way }> = {
  freeze: { up: SHUT, down: SHUT },
  mute: { up: SHUT },
  deafen: { down: SHUT },
  slow: { up: { delayMs: 400 }, down: { delayMs: 400 } },
  trickle: { up: { delayMs: 20, pieceBytes: 64 }, down: { delayMs: 20, pieceBytes: 64 } },
};
const RPC_FAULTS: Record<RpcMode, RpcFault> = {
  drop: "drop",
  "drop-response": "drop-response",
  hang: "hang",
  error: { code: -32000, message: "the node is syncing" },
};

/** Applies a schedule of faults to a cluster, and repairs the cluster. */
export class Nemesis {
  readonly #cluster: Cluster;
  readonly #history: History;
  /** How often each fault has begun, by name. */
  readonly counts = new Map<string, number>();
  /** Resolves when the present fault of the database is over. */
  #store: Promise<void> = Promise.resolve();

  constructor(components: { readonly cluster: Cluster; readonly history: History }) {
    this.#cluster = components.cluster;
    this.#history = components.history;
  }

  /** Resolves once every fault is over, or at once when aborted; {@link heal} ends the remaining faults. */
  async run(faults: readonly Fault[], signal: AbortSignal): Promise<void> {
    const began = performance.now();
    await Promise.all(
      faults.map(async (fault) => {
        if (!(await wait(fault.at - (performance.now() - began), signal))) return;
        const end = await this.#begin(fault);
        if (!(await wait(fault.at + fault.lasts - (performance.now() - began), signal))) return;
        await end();
        this.#note(fault, "end");
      }),
    );
  }

  /** Ends every fault, and restarts programs with a wrong clock as an operator does. Rejects when a program does not end. */
  async heal(): Promise<void> {
    const { coordinators, daemons, database, chain } = this.#cluster;
    this.#history.add({ type: "run", what: "healing" });
    if (database?.restartable) database.resume();
    chain.signal("SIGCONT");
    for (const { nodes, store, peers, requesters, rpc } of coordinators) {
      for (const link of [...nodes, ...(store ? [store] : []), peers, requesters]) link.mend();
      rpc.fault = () => undefined;
    }
    for (const member of [...coordinators, ...daemons]) {
      member.program.signal("SIGCONT");
      if (member.shiftMs !== 0) {
        await endInTime(member);
        member.shiftMs = 0;
      }
      if (!member.program.running) member.program.start();
    }
  }

  /** Begins a fault; the returned function ends it. */
  async #begin(fault: Fault): Promise<() => Promise<void> | void> {
    this.#note(fault, "begin");
    this.counts.set(nameOf(fault), (this.counts.get(nameOf(fault)) ?? 0) + 1);
    const { coordinators, daemons, database, chain } = this.#cluster;
    const member: Member = (fault.kind.endsWith("daemon") ? daemons : coordinators)[fault.target]!;
    switch (fault.kind) {
      case "kill coordinator":
      case "kill daemon":
        return kill(member, member.shiftMs);
      case "clock of coordinator":
      case "clock of daemon":
        return kill(member, fault.shiftMs!);
      case "pause coordinator":
      case "pause daemon":
        member.program.signal("SIGSTOP");
        return () => member.program.signal("SIGCONT");
      case "pause chain":
        chain.signal("SIGSTOP");
        return () => chain.signal("SIGCONT");
      case "kill store":
        return this.#onStore(
          () => database!.kill(),
          () => database!.start(),
        );
      case "pause store":
        return this.#onStore(
          () => database!.pause(),
          () => database!.resume(),
        );
      case "link": {
        const { how, place } = fault.link!;
        const links = this.#links(place, fault.target);
        for (const link of links) how === "cut" ? link.cut() : link.pass(WAYS[how]);
        return () => {
          for (const link of links) link.mend();
        };
      }
      case "rpc": {
        const { rpc } = coordinators[fault.target]!;
        rpc.fault = () => RPC_FAULTS[fault.rpc!];
        return () => {
          rpc.fault = () => undefined;
        };
      }
    }
  }

  /** Runs one fault of the database at a time: on a busy machine the database may stop and start later than planned. */
  async #onStore(begin: () => Promise<void> | void, end: () => Promise<void> | void): Promise<() => Promise<void>> {
    const before = this.#store;
    const over = Promise.withResolvers<void>();
    this.#store = over.promise;
    await before;
    await begin();
    return async () => {
      await end();
      over.resolve();
    };
  }

  #links(place: Place, target: number): Link[] {
    const { coordinators } = this.#cluster;
    if (place === "daemon") return coordinators.map(({ nodes }) => nodes[target]!);
    const { nodes, store, peers, requesters } = coordinators[target] as CoordinatorMember;
    const places = { nodes, store: store ? [store] : [], peers: [peers], requesters: [requesters] };
    return place === "all" ? Object.values(places).flat() : [...places[place]];
  }

  #note(fault: Fault, phase: "begin" | "end"): void {
    const target = fault.kind.endsWith("daemon") || fault.link?.place === "daemon" ? "daemon" : "coordinator";
    const shared = fault.kind.endsWith("store") || fault.kind.endsWith("chain");
    this.#history.add({
      type: "fault",
      phase,
      fault: fault.shiftMs === undefined ? nameOf(fault) : `${nameOf(fault)} ${fault.shiftMs} ms`,
      target: shared ? fault.kind.split(" ")[1]! : `${target}-${fault.target + 1}`,
    });
  }
}

async function kill(member: Member, shiftMs: number): Promise<() => void> {
  await member.program.end("SIGKILL");
  return () => {
    member.shiftMs = shiftMs;
    if (!member.program.running) member.program.start({ CLOCK_SHIFT_MS: String(shiftMs) });
  };
}

/** False when aborted. */
async function wait(ms: number, signal: AbortSignal): Promise<boolean> {
  if (signal.aborted) return false;
  return sleep(Math.max(0, ms), true, { signal }).catch(() => false);
}
