import { aLink, anOffer, begin } from "@proof-of-compute/tests/support/fleet";
import { ManualClock } from "@proof-of-compute/tests/support/manual-clock";
import { pino } from "pino";
import { describe, expect, it, vi } from "vitest";
import { MemoryStore } from "../../adapters/memory/store.ts";
import { Metrics } from "../metrics.ts";
import { Fleet } from "./fleet.ts";
import type { LiveNode } from "./live-node.ts";
import type { Welcome } from "./node-link.ts";
import { Sessions } from "./sessions.ts";

const SELF = { coordinatorId: "test", incarnation: "0x01" } as const;
const live = new AbortController().signal;

/** Sessions of a fleet whose other services do what the test says. */
async function aFleet({ adopt = async (_node: LiveNode) => {} } = {}) {
  const store = new MemoryStore();
  await store.start();
  const logger = pino({ level: "silent" });
  const init = { self: SELF, heartbeatMs: 5_000, leaseMs: 30_000, maxNodes: 10 };
  const components = { store, logger, clock: new ManualClock(), metrics: new Metrics(), random: () => 0 };
  const fleet = new Fleet(components, init);
  const steps: string[] = [];
  const sessions = new Sessions(
    {
      logger,
      fleet,
      takeover: {
        adopt: async (node) => {
          steps.push("adopt");
          await adopt(node);
        },
      },
      leases: { onJoined: (node, running) => steps.push(`onJoined ${running} with ${node.capacity} free`) },
    },
    { ...init, reconnectSpreadMs: (nodes) => 100 * nodes, contract: undefined },
  );
  const link = () =>
    Object.assign(aLink(), { welcome: ({ reconnectSpreadMs }: Welcome) => steps.push(`welcome ${reconnectSpreadMs}`) });
  return { store, fleet, sessions, steps, link };
}

describe("opening a session", () => {
  it("adopts what the node runs, welcomes it, compares what it named, and only then lets it have work", async () => {
    const { store, sessions, steps, link } = await aFleet();
    const offer = anOffer({ runningAssignmentIds: ["0x07"] });
    const { node } = await sessions.open(offer, link(), live);
    expect(steps).toEqual(["adopt", "welcome 100", "onJoined 0x07 with 0 free"]);
    expect([node.status, node.capacity]).toEqual(["online", 1]);
    expect(await store.node(offer.nodeId)).toMatchObject({ status: "online", owner: SELF });
  });

  it("leaves no session behind when adopting fails", async () => {
    const { sessions, fleet, steps, link } = await aFleet({ adopt: () => Promise.reject(new Error("store away")) });
    const offer = anOffer();
    await expect(sessions.open(offer, link(), live)).rejects.toThrow("store away");
    expect(steps).toEqual(["adopt"]);
    expect(fleet.get(offer.nodeId)).toMatchObject({ link: null, status: "suspect", capacity: 0 });
  });

  it("leaves no session behind when the stream ends meanwhile", async () => {
    const stream = new AbortController();
    const { sessions, fleet, steps, link } = await aFleet({ adopt: async () => stream.abort() });
    const offer = anOffer();
    await expect(sessions.open(offer, link(), stream.signal)).rejects.toThrow("aborted");
    expect(steps).toEqual(["adopt"]);
    expect(fleet.get(offer.nodeId)?.link).toBeNull();
    await expect(sessions.open(anOffer(), link(), stream.signal)).rejects.toThrow("aborted");
    expect([...fleet.online()]).toEqual([]);
  });

  it("gives way to a newer session of the same node", async () => {
    const { promise: slow, resolve: adopted } = Promise.withResolvers<void>();
    let first = true;
    const adopt = () => {
      if (!first) return Promise.resolve();
      first = false;
      return slow;
    };
    const { sessions, fleet, steps, link } = await aFleet({ adopt });
    const offer = anOffer();
    const [older, newer] = [link(), link()];
    const opening = sessions.open(offer, older, live);
    await vi.waitFor(() => expect(steps).toEqual(["adopt"]));
    const { node } = await sessions.open(offer, newer, live);
    adopted();
    await expect(opening).rejects.toMatchObject({ code: "SESSION_REPLACED" });
    expect(older.closed).toBe(true);
    expect([node.link === newer, node.capacity]).toEqual([true, 1]);
    expect([...fleet.online()]).toEqual([node]);
  });
});

describe("closing a session", () => {
  it("keeps the leases and the outputs that are being checked, and drops outputs that have to come again", async () => {
    const { sessions, link } = await aFleet();
    const session = await sessions.open(anOffer(), link(), live);
    const dropped: string[] = [];
    const [arriving, checked] = ["arriving", "checked"].map((name) => {
      const assignment = begin(session.node);
      assignment.receive({ size: 1, release: () => dropped.push(name) } as never);
      return assignment;
    });
    checked!.toChecking();
    session.close();
    expect(dropped).toEqual(["arriving"]);
    expect([...session.node.assignments.values()]).toEqual([arriving, checked]);
    expect(session.node).toMatchObject({ link: null, status: "suspect" });
  });

  it("leaves a newer session of the node alone", async () => {
    const { sessions, link } = await aFleet();
    const offer = anOffer();
    const older = await sessions.open(offer, link(), live);
    const { node } = await sessions.open(offer, link(), live);
    older.close();
    older.heard();
    expect(node.status).toBe("online");
    expect(node.link).not.toBeNull();
  });
});
