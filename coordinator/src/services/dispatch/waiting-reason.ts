import type { Address } from "@proof-of-compute/proto";
import type { Task } from "../../domain/task.ts";
import { type CoordinatorKinds, specOf } from "../../kinds/index.ts";
import { isFastEnough, type Offer, offerOf } from "../fleet/offer.ts";

/** What a reason depends on. */
export interface Situation {
  /** Milliseconds since 1970. */
  readonly now: number;
  readonly kinds: CoordinatorKinds;
  /** What the nodes with a session offer. */
  readonly online: readonly Pick<Offer, "wallet" | "offers">[];
  readonly allowSelfTasks: boolean;
  /** Queued tasks, this one included. */
  readonly queued: number;
}

/** Says to its requester why a queued task waits; undefined when it does not wait. */
export function waitingReason(
  task: Task,
  { now, kinds, online, allowSelfTasks, queued }: Situation,
): string | undefined {
  if (task.state !== "queued") return undefined;
  const wait = task.notBefore - now;
  if (wait > 0 && Object.keys(task.assignments).length > 0) {
    return `the last attempt ended without a result; the next one starts in ${Math.ceil(wait / 1_000)} s`;
  }
  const known = specOf(task, kinds);
  if (!known) return `this coordinator does not know kind ${task.kind}; another one gives it out`;
  if (online.length === 0) return "no node is online";
  const serving = online.filter((node) => offerOf(node, task.kind));
  if (serving.length === 0) return `no online node serves kind ${task.kind}`;
  const isOther = ({ wallet }: { readonly wallet: Address }) => wallet !== task.requester;
  const others = allowSelfTasks ? serving : serving.filter(isOther);
  if (others.length === 0) return "only your own nodes are online, and this network does not let them do your tasks";
  const { maxUnits } = known.kind.protocol.bounds(known.spec);
  const able = others.filter((node) => isFastEnough(offerOf(node, task.kind)!, maxUnits, task.deadline - now));
  if (able.length === 0) return "no online node is fast enough to complete it before its deadline";
  const who = able.length === 1 ? "the only node that can do it is" : `all ${able.length} nodes that can do it are`;
  return `${who} busy; ${queued} ${queued === 1 ? "task waits" : "tasks wait"}`;
}
