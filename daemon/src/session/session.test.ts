import { randomBytes } from "node:crypto";
import { credentials, status } from "@grpc/grpc-js";
import { HelloTerms, type Welcome } from "@proof-of-compute/proto/node";
import { scriptedCoordinator, startDaemon } from "@proof-of-compute/tests/support/daemon/daemon";
import { describe, expect, onTestFinished, test, vi } from "vitest";
import { newIdentity } from "../identity.ts";
import type { OpenSession, SessionHandler } from "./open-session.ts";
import { Session } from "./session.ts";

const HEARTBEAT_MS = 100;
const CHUNK_BYTES = 64 * 1024;

/** Waits for one verdict, and counts the heartbeats that told of it. */
class Waiting implements SessionHandler {
  readonly unacknowledged = 1;
  readonly link = Promise.withResolvers<OpenSession>();
  beats = 0;

  opened(link: OpenSession): void {
    this.link.resolve(link);
  }
  freeSlots(): number {
    this.beats++;
    return 0;
  }
  offers(): [] {
    return [];
  }
  heldAssignments(): Buffer[] {
    return [];
  }
  closed(): void {}
  assign(): void {}
  cancel(): void {}
  acknowledge(): void {}
}

/** A session with a scripted coordinator, and hands on the clock that its silence is measured by. */
async function openSession(welcome: Partial<Welcome> = {}) {
  const coordinator = await scriptedCoordinator({ heartbeatIntervalMs: HEARTBEAT_MS, ...welcome });
  const handler = new Waiting();
  const { address } = coordinator;
  const session = new Session(
    { identity: await newIdentity(), handler },
    {
      endpoint: { address, audience: address, credentials: credentials.createInsecure() },
      terms: () => HelloTerms.decode(new Uint8Array()),
      onWelcome: () => {},
    },
  );
  onTestFinished(() => session.close());
  const now = performance.now.bind(performance);
  let aheadMs = 0;
  const clock = vi.spyOn(performance, "now").mockImplementation(() => now() + aheadMs);
  onTestFinished(() => clock.mockRestore());
  const scripted = await coordinator.nextSession();
  const link = await handler.link.promise;
  const pass = (ms: number) => {
    aheadMs += ms;
  };
  return { session, handler, scripted, link, pass };
}

async function upload(link: OpenSession, bytes: number): Promise<void> {
  const assignmentId = randomBytes(16);
  for (let offset = 0; offset < bytes && link.open; offset += CHUNK_BYTES) {
    const data = Buffer.alloc(CHUNK_BYTES);
    const more = link.send({ $case: "outputChunk", value: { assignmentId, offset: BigInt(offset), data } });
    if (!more) await link.writable();
  }
}

describe("a coordinator that is silent while a verdict is due", () => {
  test("keeps its session while it takes chunks, however long the upload", async () => {
    const { session, handler, scripted, link, pass } = await openSession();
    const uploaded = upload(link, 32 * 1024 * 1024);
    for (let slice = 0; slice < 4; slice++) {
      for (let chunk = 0; chunk < 60; chunk++) await scripted.next("outputChunk");
      scripted.pause();
      const { beats } = handler;
      pass(30_000);
      await expect.poll(() => handler.beats > beats + 1 || !session.open).toBe(true);
      expect(session.open).toBe(true);
      scripted.resume();
    }
    await uploaded;
    expect(session.open).toBe(true);
  });

  test("loses its session when it takes none", async () => {
    const { session, scripted, link, pass } = await openSession();
    scripted.pause();
    const uploaded = upload(link, 64 * 1024 * 1024);
    await expect
      .poll(async () => {
        pass(30_000);
        return session.open;
      })
      .toBe(false);
    expect((await session.ended).status.details).toBe("the coordinator stopped answering");
    await uploaded;
  });
});

describe("a Welcome that cannot be used", () => {
  test.each([
    [{ chainId: 51n, contract: Buffer.alloc(3) }, /contract of 3 bytes/],
    [{ chainId: 2n ** 64n - 1n, contract: Buffer.alloc(20) }, /chain 18446744073709551615/],
    [{ heartbeatIntervalMs: 0 }, /heartbeat every 0 ms/],
    [{ heartbeatIntervalMs: 2 ** 31 }, /heartbeat every 2147483648 ms/],
  ])("makes the node dial the next coordinator: %#", async (welcome, why) => {
    const [strange, next] = [await scriptedCoordinator(welcome), await scriptedCoordinator()];
    const { daemon, lines } = await startDaemon([strange, next]);
    await next.nextSession();
    await expect.poll(() => daemon.connection).toMatchObject({ phase: "online", coordinator: next.address });
    expect(lines.filter(({ msg }) => why.test(msg) && /cannot be used/.test(msg))).toHaveLength(1);
    expect(lines.filter(({ msg }) => msg === "online")).toHaveLength(1);
  });
});

describe("a coordinator's request", () => {
  test.each(["welcome", "reconnect"])("for a wait is cut to minutes, in its %s", async ($case) => {
    const weeks = 2 ** 32 - 1;
    const { session, scripted } = await openSession($case === "welcome" ? { reconnectSpreadMs: weeks } : {});
    if ($case === "reconnect") scripted.send({ $case, value: { spreadMs: weeks, reason: "" } });
    scripted.end({ code: status.UNAVAILABLE, details: "gone" });
    expect((await session.ended).spreadMs).toBe(5 * 60_000);
  });

  test("shows no control characters in a terminal", async () => {
    const { session, scripted, link } = await openSession({ coordinatorId: "c\u001b[2J1" });
    expect(link.welcome.coordinatorId).toBe("c [2J1");
    scripted.end({ code: status.UNAVAILABLE, details: "away\u009b2J\r\nfor\u202e now", error: "GONE" });
    expect(await session.ended).toMatchObject({ status: { details: "away 2J  for  now" }, error: "GONE" });
  });
});
