import { randomBytes } from "node:crypto";
import { assign } from "@proof-of-compute/coordinator/domain/task";
import type { ActiveAssignment } from "@proof-of-compute/coordinator/services/fleet/active-assignment";
import { LiveNode } from "@proof-of-compute/coordinator/services/fleet/live-node";
import type { CancelReason, NodeLink } from "@proof-of-compute/coordinator/services/fleet/node-link";
import type { Offer } from "@proof-of-compute/coordinator/services/fleet/offer";
import type { ResultVerdict } from "@proof-of-compute/coordinator/services/results/verdict";
import { type Hex, type TaskKindName, toHex } from "@proof-of-compute/proto";
import { aTask, HERE } from "../conformance/fixtures.ts";
import { echo } from "./echo/coordinator.ts";

/** The offers of an ordinary node: all slots for each of `kinds`, at one rate. */
export function anOffer({
  kinds = ["echo"],
  unitsPerSecond,
  ...change
}: Partial<Offer> & { readonly kinds?: readonly TaskKindName[]; readonly unitsPerSecond?: number } = {}): Offer {
  const { slots = 4 } = change;
  const rate = unitsPerSecond !== undefined && { unitsPerSecond };
  return {
    nodeId: toHex(randomBytes(32)),
    wallet: "0x5FbDB2315678afecb367f032d93F642f64180aa3",
    version: "0.1.0",
    slots,
    offers: kinds.map((kind) => ({ kind, slots, ...rate })),
    hardware: { cpuModel: "test", cpuCores: 4, memoryBytes: 2 ** 30, platform: "linux-x64" },
    confirmed: false,
    runningAssignmentIds: [],
    ...change,
  };
}

/** A node with an open session and `link`, which may be given all its slots. */
export function aLiveNode(
  offer: Offer = anOffer(),
  onCapacity: (node: LiveNode, grew: boolean) => void = () => {},
): LiveNode & { readonly link: NotedLink } {
  const node = new LiveNode(offer, onCapacity);
  node.connect(offer, aLink(), { cap: 2 * offer.slots, valid: 0, faults: 0 });
  node.setStatus("online");
  node.welcome();
  return node as LiveNode & { readonly link: NotedLink };
}

/** Gives a node an assignment of a task that is in no store. */
export function begin(node: LiveNode, kind: TaskKindName = "echo"): ActiveAssignment {
  const id = toHex(randomBytes(16));
  const queued = aTask(1, { id: toHex(randomBytes(16)), kind });
  const attempt = { id, nodeId: node.id, wallet: node.offer.wallet, assignedAt: 0 };
  const work = { kind: echo, spec: { input: Uint8Array.of(1) } };
  return node.begin({ task: assign(queued, attempt, HERE), work, phase: "running", now: 0 });
}

/** A link to a node that only records frames. */
export interface NotedLink extends NodeLink {
  readonly assigned: Hex[];
  readonly cancelled: { readonly id: Hex; readonly reason: CancelReason }[];
  readonly verdicts: ResultVerdict[];
  closed: boolean;
}

export function aLink(): NotedLink {
  const link: NotedLink = {
    sessionId: toHex(randomBytes(16)),
    assigned: [],
    cancelled: [],
    verdicts: [],
    closed: false,
    welcome: () => {},
    assign: (id) => void link.assigned.push(id),
    cancel: (id, reason) => void link.cancelled.push({ id, reason }),
    ack: (verdict) => void link.verdicts.push(verdict),
    reconnect: () => {},
    close: () => {
      link.closed = true;
    },
  };
  return link;
}
