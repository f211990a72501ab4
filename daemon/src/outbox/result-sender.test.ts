import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { toHex } from "@proof-of-compute/proto";
import type { OutputChunk, Results } from "@proof-of-compute/proto/node";
import { finished, recordingLogger, temporaryFolder } from "@proof-of-compute/tests/support/daemon/daemon";
import { describe, expect, onTestFinished, test } from "vitest";
import { newIdentity } from "../identity.ts";
import type { NodeMessage, OpenSession } from "../session/open-session.ts";
import { Outbox } from "./outbox.ts";
import { ResultSender } from "./result-sender.ts";

/** A stream that takes `room` messages, then none until its test makes room again. */
class ScriptedSession implements Omit<OpenSession, "fetchBlob"> {
  readonly welcome = { inlineOutputBytes: 65536 } as OpenSession["welcome"];
  readonly sent: NodeMessage[] = [];
  open = true;
  room = Number.POSITIVE_INFINITY;
  #drain = Promise.withResolvers<void>();

  send(message: NodeMessage): boolean {
    this.sent.push(message);
    return this.sent.length < this.room;
  }

  writable(): Promise<void> {
    return this.#drain.promise;
  }

  makeRoom(room: number): void {
    this.room = this.sent.length + room;
    this.#drain.resolve();
    this.#drain = Promise.withResolvers();
  }

  of<C extends NodeMessage["$case"]>($case: C) {
    return this.sent.filter((message) => message.$case === $case).map(({ value }) => value);
  }
}

async function resultSender() {
  const session = new ScriptedSession();
  const kept = new Map<string, Uint8Array>();
  const disk = { readable: true };
  const outbox = {
    has: (id: string) => kept.has(id),
    output: async (id: string) => {
      if (!disk.readable) throw new Error("EMFILE");
      return kept.get(id) ?? null;
    },
  };
  const errors: unknown[] = [];
  const sender = new ResultSender(
    { identity: await newIdentity(), outbox, session },
    { wallet: new Uint8Array(20), retryMs: 5, onError: (error) => errors.push(error) },
  );
  const send = (bytes: number) => {
    const { output, ...head } = finished(bytes);
    kept.set(toHex(head.assignmentId), output);
    sender.send(head);
    return { ...head, output };
  };
  return { session, kept, disk, send, errors };
}

const frames = (session: ScriptedSession) => (session.of("results") as Results[]).map(({ results }) => results);

describe("the result sender", () => {
  test("puts at most 256 results and 1 MiB into a frame, and sends every result once", async () => {
    const { session, send } = await resultSender();
    const small = Array.from({ length: 600 }, () => send(16));
    const middle = Array.from({ length: 40 }, () => send(65536));
    await expect.poll(() => frames(session).flat().length).toBe(640);
    for (const results of frames(session)) {
      expect(results.length).toBeLessThanOrEqual(256);
      expect(results.reduce((bytes, { output }) => bytes + output.length, 0)).toBeLessThanOrEqual(1024 * 1024);
    }
    const sent = frames(session).flat();
    expect(sent.map(({ assignmentId }) => assignmentId)).toEqual(
      [...small, ...middle].map(({ assignmentId }) => assignmentId),
    );
  });

  test("stops at a full stream, even in the middle of an output, and continues when it drains", async () => {
    const { session, send, errors } = await resultSender();
    session.room = 3;
    const { output } = send(10 * 65536 + 1);
    await expect.poll(() => session.sent.length).toBe(3);
    // Whatever was to come without room would have come by now.
    for (let turn = 0; turn < 10; turn++) await new Promise((resolve) => setImmediate(resolve));
    expect(session.sent).toHaveLength(3);
    session.makeRoom(2);
    await expect.poll(() => session.sent.length).toBe(5);
    session.makeRoom(100);
    await expect.poll(() => frames(session).length).toBe(1);
    const chunks = session.of("outputChunk") as OutputChunk[];
    expect(chunks.map(({ offset }) => Number(offset))).toEqual(Array.from({ length: 11 }, (_, i) => i * 65536));
    expect(Buffer.concat(chunks.map(({ data }) => data)).equals(output)).toBe(true);
    expect(errors).toEqual([]);
  });

  test("sends the Results of one upload before it begins the next", async () => {
    const { session, send } = await resultSender();
    const uploads = [send(2 * 65536), send(2 * 65536), send(2 * 65536)];
    await expect.poll(() => frames(session).length).toBe(3);
    expect(session.sent.map(({ $case }) => $case)).toEqual(
      uploads.flatMap(() => ["outputChunk", "outputChunk", "results"]),
    );
  });

  test("skips results that were settled while they waited", async () => {
    const { session, kept, send } = await resultSender();
    const [gone, cut, stays] = [send(16), send(5 * 65536), send(16)];
    kept.delete(toHex(gone.assignmentId));
    kept.delete(toHex(cut.assignmentId));
    await expect.poll(() => frames(session).length).toBe(1);
    expect(frames(session)[0]!.map(({ assignmentId }) => assignmentId)).toEqual([stays.assignmentId]);
  });

  test("sends results later that cannot be read now", async () => {
    const { session, disk, send, errors } = await resultSender();
    disk.readable = false;
    const [small, large] = [send(16), send(2 * 65536)];
    for (let turn = 0; turn < 10; turn++) await new Promise((resolve) => setImmediate(resolve));
    expect(session.sent).toEqual([]);
    disk.readable = true;
    await expect.poll(() => frames(session).flat().length).toBe(2);
    expect(frames(session).flat()).toMatchObject([{ output: small.output }, { outputDigest: large.outputDigest }]);
    expect(errors).toEqual([]);
  });

  test.each([16, 5 * 65536])("holds no output of %d bytes in memory while the stream is full", async (bytes) => {
    const outbox = new Outbox(
      { logger: recordingLogger().logger },
      // Room for none in memory once they are written.
      { dir: await temporaryFolder(), maxBytes: 2 ** 30, memoryBytes: 0 },
    );
    await outbox.start();
    onTestFinished(() => outbox.stop());
    const session = new ScriptedSession();
    session.room = 1;
    const sender = new ResultSender(
      { identity: await newIdentity(), outbox, session },
      { wallet: new Uint8Array(20), onError: () => {} },
    );
    const send = () => {
      const result = finished(bytes);
      sender.send(outbox.add(result));
      return new WeakRef(result.output);
    };
    send();
    await expect.poll(() => session.sent.length).toBe(1);
    const waiting = send();
    setFlagsFromString("--expose-gc");
    const collectGarbage = runInNewContext("gc");
    await expect
      .poll(() => {
        collectGarbage();
        return waiting.deref() === undefined;
      })
      .toBe(true);
  });

  test("sends nothing after the end of its session", async () => {
    const { session, send } = await resultSender();
    session.open = false;
    send(16);
    send(5 * 65536);
    for (let turn = 0; turn < 10; turn++) await new Promise((resolve) => setImmediate(resolve));
    expect(session.of("results")).toEqual([]);
  });
});
