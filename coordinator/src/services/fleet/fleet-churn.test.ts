import { aLink, anOffer, begin } from "@proof-of-compute/tests/support/fleet";
import { ManualClock } from "@proof-of-compute/tests/support/manual-clock";
import fc from "fast-check";
import { pino } from "pino";
import { expect, test } from "vitest";
import { MemoryStore } from "../../adapters/memory/store.ts";
import { Metrics } from "../metrics.ts";
import { Fleet } from "./fleet.ts";
import type { LiveNode } from "./live-node.ts";
import type { NodeLink } from "./node-link.ts";
import type { Offer } from "./offer.ts";

const NODES = 5;
const HEARTBEAT_MS = 5_000;
const LEASE_MS = 30_000;

const OFFERS = Array.from({ length: NODES }, (_, index): Offer => anOffer({ slots: 1 + index }));

const which = fc.nat(NODES - 1);
type Step =
  | { readonly do: "join" | "assign" | "check" | "heard"; readonly which: number }
  | { readonly do: "leave"; readonly which: number; readonly stale: boolean }
  | { readonly do: "end"; readonly which: number; readonly how: "valid" | "lost" | "rejected" }
  | { readonly do: "wait"; readonly ms: number };

const action: fc.Arbitrary<Step> = fc.oneof(
  fc.record({ do: fc.constant("join" as const), which }),
  fc.record({ do: fc.constant("leave" as const), which, stale: fc.boolean() }),
  fc.record({ do: fc.constant("assign" as const), which }),
  fc.record({
    do: fc.constant("end" as const),
    which,
    how: fc.constantFrom("valid" as const, "lost" as const, "rejected" as const),
  }),
  fc.record({ do: fc.constant("check" as const), which }),
  fc.record({ do: fc.constant("heard" as const), which }),
  fc.record({ do: fc.constant("wait" as const), ms: fc.constantFrom(1_000, HEARTBEAT_MS, 20_000, 2 * LEASE_MS) }),
);

test("finds exactly the nodes with free capacity, whatever joins, leaves, works and fails", async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(action, { minLength: 40, maxLength: 80 }), async (actions) => {
      const clock = new ManualClock();
      const store = new MemoryStore();
      await store.start();
      const logger = pino({ level: "silent" });
      const fleet = new Fleet(
        { store, clock, logger, metrics: new Metrics(), random: () => 0.5 },
        {
          self: { coordinatorId: "test", incarnation: "0x01" },
          heartbeatMs: HEARTBEAT_MS,
          leaseMs: LEASE_MS,
          maxNodes: NODES,
        },
      );
      fleet.start({ onCapacity: () => {}, onOffline: endAll });
      const links = OFFERS.map((): NodeLink[] => []);
      for (const step of actions) {
        if (step.do === "wait") {
          await clock.run(step.ms);
        } else {
          const offer = OFFERS[step.which]!;
          const node = fleet.get(offer.nodeId);
          if (step.do === "join") {
            const link = aLink();
            links[step.which]!.push(link);
            (await fleet.join(offer, link)).welcome();
          } else if (node) {
            act(step, node, links[step.which]!);
          }
        }
        expectConsistent(fleet);
      }
      await fleet.stop();

      function act(step: Step, node: LiveNode, own: NodeLink[]): void {
        if (step.do === "leave") fleet.leave(node, step.stale ? own[0]! : own.at(-1)!);
        if (step.do === "heard" && node.link) fleet.heard(node);
        if (step.do === "assign" && node.capacity > 0) begin(node);
        const assignments = [...node.assignments.values()];
        if (step.do === "check") assignments.find(({ phase }) => phase === "running")?.toChecking();
        if (step.do === "end" && assignments.length > 0) {
          assignments[0]!.end();
          if (step.how === "valid") fleet.credit(node);
          else fleet.blame(node, step.how);
        }
      }
    }),
    { numRuns: 300 },
  );
});

function endAll(node: LiveNode): void {
  for (const assignment of [...node.assignments.values()]) assignment.end();
}

function expectConsistent(fleet: Fleet): void {
  const nodes = OFFERS.flatMap(({ nodeId }) => fleet.get(nodeId) ?? []);
  const open = nodes.filter(({ capacity }) => capacity > 0);
  expect(fleet.freeCapacity(1_000)).toBe(open.reduce((sum, node) => sum + node.capacity, 0));
  // Every one of them can be picked, and nobody else.
  for (const node of nodes) {
    const query = { kind: "echo", tried: new Set<never>(), fits: (other: LiveNode) => other === node } as const;
    expect(fleet.find(query) === node).toBe(open.includes(node));
  }
  for (const node of nodes) {
    expect(node.earned.cap).toBeLessThanOrEqual(2 * node.offer.slots);
    expect(node.assignments.size).toBeLessThanOrEqual(2 * node.offer.slots);
    expect(node.assignments.size - node.checking).toBeLessThanOrEqual(node.offer.slots);
    expect(node.checking).toBe([...node.assignments.values()].filter(({ phase }) => phase === "checking").length);
    if (node.link === null || node.pausedUntil !== undefined) expect(node.capacity).toBe(0);
  }
}
