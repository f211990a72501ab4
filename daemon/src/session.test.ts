import { randomBytes } from "node:crypto";
import { credentials } from "@grpc/grpc-js";
import { describe, expect, onTestFinished, test, vi } from "vitest";
import { newIdentity } from "./identity.ts";
import { type Link, Session, type SessionHandler } from "./session.ts";
import { scriptedCoordinator } from "./testing/support.ts";

const HEARTBEAT_MS = 100;
const CHUNK_BYTES = 64 * 1024;

/** Waits for one verdict, and counts the heartbeats that told of it. */
class Waiting implements SessionHandler {
  readonly unacknowledged = 1;
  readonly link = Promise.withResolvers<Link>();
  beats = 0;

  opened(link: Link): void {
    this.link.resolve(link);
  }
  freeSlots(): number {
    this.beats++;
    return 0;
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
async function openSession() {
  const coordinator = await scriptedCoordinator({ heartbeatIntervalMs: HEARTBEAT_MS });
  const handler = new Waiting();
  const { address } = coordinator;
  const session = new Session(
    { identity: await newIdentity(), handler },
    {
      endpoint: { address, audience: address, credentials: credentials.createInsecure() },
      terms: () => new Uint8Array(),
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

async function upload(link: Link, bytes: number): Promise<void> {
  const assignmentId = randomBytes(16);
  for (let offset = 0; offset < bytes && link.open; offset += CHUNK_BYTES) {
    const data = Buffer.alloc(CHUNK_BYTES);
    const more = link.send({ $case: "outputChunk", value: { assignmentId, offset: BigInt(offset), data } });
    if (!more) await link.writable();
  }
}

describe("a coordinator that says nothing while a verdict is due", () => {
  test("is there as long as it takes chunks, however long the upload", async () => {
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

  test("is left when it takes none", async () => {
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
