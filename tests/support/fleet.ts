import { randomBytes } from "node:crypto";
import type { CancelReason, NodeLink, Offer } from "@proof-of-compute/coordinator/services/fleet/live-node";
import type { ResultVerdict } from "@proof-of-compute/coordinator/services/results/verdict";
import { type Hex, toHex } from "@proof-of-compute/proto";

/** What a node offers that has nothing special. */
export function anOffer(change: Partial<Offer> = {}): Offer {
  return {
    nodeId: toHex(randomBytes(32)),
    wallet: "0x5FbDB2315678afecb367f032d93F642f64180aa3",
    version: "0.1.0",
    kinds: ["matmul"],
    slots: 4,
    hardware: { cpuModel: "test", cpuCores: 4, memoryBytes: 2 ** 30, platform: "linux-x64" },
    confirmed: false,
    runningAssignmentIds: [],
    ...change,
  };
}

/** A way down to a node that only notes what was sent. */
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
