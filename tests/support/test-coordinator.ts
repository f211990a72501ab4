import { MemoryStore } from "@proof-of-compute/coordinator/adapters/memory/store";
import { type ClusterPart, openCluster } from "@proof-of-compute/coordinator/compose/cluster";
import { type DispatchPart, openDispatch } from "@proof-of-compute/coordinator/compose/dispatch";
import { type Base, createBase } from "@proof-of-compute/coordinator/compose/part";
import type { Owner } from "@proof-of-compute/coordinator/domain/owner";
import type { Task } from "@proof-of-compute/coordinator/domain/task";
import { type CoordinatorKinds, KINDS } from "@proof-of-compute/coordinator/kinds/index";
import type { Nudge, PeerLink } from "@proof-of-compute/coordinator/ports/peers";
import type { Peers } from "@proof-of-compute/coordinator/services/cluster/peers";
import type { Takeover } from "@proof-of-compute/coordinator/services/cluster/takeover";
import type { DispatchServicesComponents } from "@proof-of-compute/coordinator/services/dispatch/index";
import type { Leases } from "@proof-of-compute/coordinator/services/dispatch/leases";
import type { Scheduler } from "@proof-of-compute/coordinator/services/dispatch/scheduler";
import type { ActiveAssignment } from "@proof-of-compute/coordinator/services/fleet/active-assignment";
import type { Fleet } from "@proof-of-compute/coordinator/services/fleet/fleet";
import type { LiveNode } from "@proof-of-compute/coordinator/services/fleet/live-node";
import type { Offer } from "@proof-of-compute/coordinator/services/fleet/offer";
import type { Sessions } from "@proof-of-compute/coordinator/services/fleet/sessions";
import { resolveSettings } from "@proof-of-compute/coordinator/settings/read";
import { type Address, type Hex, toHex } from "@proof-of-compute/proto";
import { pino } from "pino";
import { aReceipt } from "../conformance/fixtures.ts";
import { echo } from "./echo/coordinator.ts";
import { aLink, type NotedLink } from "./fleet.ts";
import { ManualClock } from "./manual-clock.ts";

export const LEASE_MS = 30_000;
export const HEARTBEAT_MS = 5_000;
export const ALICE: Address = "0x70997970C51812dc3A010C7d01b50e0d17dc79C8";
export const BOB: Address = "0x3C44CdDdB6a900fa2b585dd299e03d12FA4293BC";
const logger = pino({ level: "silent" });
const SETTINGS = resolveSettings({
  HEARTBEAT_INTERVAL: `${HEARTBEAT_MS}ms`,
  LEASE_TIME: `${LEASE_MS}ms`,
  MAX_NODES: "100",
  MAX_QUEUED_TASKS: "2300",
  MAX_QUEUED_PER_REQUESTER: "2000",
});

/** A coordinator without edges and checks, on a store that others share. */
export class TestCoordinator {
  readonly clock = new ManualClock();
  readonly store: MemoryStore;
  readonly name: string;
  readonly #base: Base;
  readonly #self: Owner;
  readonly #link: PeerLink;
  #cluster: ClusterPart | undefined;
  #dispatch: DispatchPart | undefined;

  /** `run` distinguishes runs of the same coordinator. */
  constructor(
    store: MemoryStore,
    name: string,
    run: number,
    nudge: PeerLink["nudge"],
    kinds: CoordinatorKinds = KINDS.with(echo),
  ) {
    this.#base = createBase({ logger, kinds, closeMs: 10_000, clock: this.clock, random: () => 0.5 });
    this.store = store;
    this.name = name;
    this.#self = { coordinatorId: name, incarnation: toHex(Uint8Array.of(run)) };
    this.#link = { nudge, progress: async () => new Map() };
  }

  async start(): Promise<void> {
    const { store, name: address } = this;
    const link = this.#link;
    this.#cluster = await openCluster(this.#base, { store, link }, { self: this.#self, address, leaseMs: LEASE_MS });
    const { peers } = this.#cluster;
    this.#dispatch = await openDispatch(
      this.#base,
      { store, peers, link },
      { settings: SETTINGS, contract: undefined },
    );
  }

  get peers(): Peers {
    return this.#cluster!.peers;
  }

  get fleet(): Fleet {
    return this.#dispatch!.fleet;
  }

  get leases(): Leases {
    return this.#dispatch!.leases;
  }

  get takeover(): Takeover {
    return this.#dispatch!.takeover;
  }

  get sessions(): Sessions {
    return this.#dispatch!.sessions;
  }

  get scheduler(): Scheduler {
    return this.#dispatch!.scheduler;
  }

  /** Components for further services. */
  get components(): DispatchServicesComponents {
    return { ...this.#base, store: this.store, peers: this.peers, link: this.#link };
  }

  /** Opens a node's session, as the stream does. */
  async join(offer: Offer, running: readonly Hex[] = []): Promise<{ node: LiveNode; link: NotedLink }> {
    const link = aLink();
    const { nodeId, wallet, slots } = offer;
    const earned = (await this.store.standing(nodeId, wallet)) ?? { valid: 0, faults: 0 };
    await this.store.saveStandings([{ nodeId, wallet, ...earned, cap: 2 * slots }]);
    const { node } = await this.sessions.open(
      { ...offer, runningAssignmentIds: running },
      link,
      new AbortController().signal,
    );
    await settle();
    return { node, link };
  }

  /** Asks for an echo, which is worth one unit a byte. */
  async submit(requester: Address, bytes = 512): Promise<Task> {
    const work = { kind: "echo", spec: { input: new Uint8Array(bytes) } } as const;
    const { task } = await this.scheduler.submit({ requester, ...work, deadlineMs: 3_600_000 });
    await settle();
    return task;
  }

  /** The node's result is in, and was found to be right. */
  complete(run: ActiveAssignment): Promise<void> {
    const { id, nodeId, wallet: provider, task } = run;
    const receipt = aReceipt(task, id, { nodeId, provider, units: 1n, acceptedAt: this.clock.now() });
    return this.leases.complete(run, receipt, undefined);
  }
}

/** Waits for many more turns of the event loop than any work without a timer takes. */
export async function settle(): Promise<void> {
  for (let turn = 0; turn < 20; turn++) await new Promise((resolve) => setImmediate(resolve));
}

/** Lets time pass at these coordinators; their nodes send heartbeats and progress. */
export async function live(ms: number, ...coordinators: TestCoordinator[]): Promise<void> {
  for (let passed = 0; passed < ms; passed += 500) {
    for (const { clock, fleet, leases } of coordinators) {
      for (const node of fleet.online()) {
        fleet.heard(node);
        const { assigned } = node.link as NotedLink;
        for (const [id, run] of node.assignments) if (assigned.includes(id)) leases.advance(run, 0.1);
      }
      await clock.run(500);
    }
    await settle();
  }
}

export async function aNetwork(...names: string[]): Promise<{ store: MemoryStore; all: TestCoordinator[] }> {
  const store = new MemoryStore();
  await store.start();
  const all: TestCoordinator[] = [];
  const nudge = (address: string, what: Nudge) => all.find(({ name }) => name === address)?.scheduler.nudged(what);
  for (const name of names) all.push(new TestCoordinator(store, name, 1, nudge));
  for (const each of all) await each.start();
  await live(10_000, ...all);
  return { store, all };
}
