import type { Logger } from "pino";
import type { CoordinatorKinds } from "../../kinds/index.ts";
import type { Clock } from "../../ports/clock.ts";
import type { NodeStore } from "../../ports/nodes.ts";
import type { PeerLink } from "../../ports/peers.ts";
import type { TaskStore } from "../../ports/tasks.ts";
import { logFailure } from "../../util/log-failure.ts";
import type { Peers } from "../cluster/peers.ts";
import { Takeover } from "../cluster/takeover.ts";
import { Fleet, type FleetInit } from "../fleet/fleet.ts";
import { Sessions, type SessionsInit } from "../fleet/sessions.ts";
import type { Metrics } from "../metrics.ts";
import type { TaskEvents } from "../watch/task-events.ts";
import { Leases, type LeasesInit } from "./leases.ts";
import { Matcher, type MatcherInit } from "./matcher.ts";
import { Scheduler, type SchedulerInit } from "./scheduler.ts";

export interface DispatchServicesComponents {
  readonly store: TaskStore & NodeStore;
  readonly kinds: CoordinatorKinds;
  readonly events: TaskEvents;
  readonly peers: Peers;
  readonly link: Pick<PeerLink, "nudge">;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: Metrics;
  /** Uniform in [0, 1). */
  readonly random: () => number;
}

export type DispatchServicesInit = Omit<FleetInit & LeasesInit & MatcherInit & SchedulerInit & SessionsInit, "self">;

/** The services that bring tasks to nodes, wired to one another; edges bring them the nodes and the tasks. */
export class DispatchServices {
  readonly fleet: Fleet;
  readonly leases: Leases;
  readonly takeover: Takeover;
  readonly sessions: Sessions;
  readonly matcher: Matcher;
  readonly scheduler: Scheduler;
  readonly #peers: Peers;
  readonly #logger: Logger;

  constructor(components: DispatchServicesComponents, settings: DispatchServicesInit) {
    const { peers, logger } = components;
    const init = { ...settings, self: peers.self };
    const fleet = new Fleet(components, init);
    const leases = new Leases({ ...components, fleet }, init);
    const takeover = new Takeover({ ...components, fleet, leases }, init);
    this.fleet = fleet;
    this.leases = leases;
    this.takeover = takeover;
    this.sessions = new Sessions({ ...components, fleet, leases, takeover }, init);
    this.matcher = new Matcher({ ...components, fleet, leases }, init);
    this.scheduler = new Scheduler({ ...components, fleet, leases, takeover, matcher: this.matcher }, init);
    this.#peers = peers;
    this.#logger = logger;
  }

  /** Takes up what earlier runs left, and hands out tasks from now on. */
  async start(): Promise<void> {
    const { fleet, leases, matcher, scheduler } = this;
    fleet.start({ onCapacity: () => matcher.onCapacity(), onOffline: (node) => leases.onOffline(node) });
    leases.start((before, after) => matcher.onTaskChanged(before, after));
    await fleet.recover();
    await scheduler.start();
    this.#peers.listen({ changed: () => void scheduler.takeOver(), missed: () => void this.#adoptAll() });
  }

  async stop(): Promise<void> {
    this.scheduler.stop();
    this.leases.stop();
    await this.fleet.stop();
  }

  /** The others may have taken this coordinator for dead: it takes back what its nodes still run. */
  async #adoptAll(): Promise<void> {
    this.fleet.restate();
    for (const node of this.fleet.online()) {
      await this.takeover
        .adopt(node)
        .catch((error: unknown) =>
          logFailure(this.#logger, error, "a node's assignments not adopted", { nodeId: node.id }),
        );
    }
  }
}
