import { createHash, randomBytes } from "node:crypto";
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { status } from "@grpc/grpc-js";
import {
  assignment,
  recordingLogger,
  scriptedCoordinator,
  startDaemon,
  temporaryFolder,
} from "@proof-of-compute/tests/support/daemon/daemon";
import { describe, expect, onTestFinished, test } from "vitest";
import { BlobCache } from "./blob-cache.ts";
import { BlobError } from "./blob-error.ts";
import { type BlobSession, Blobs } from "./blobs.ts";

const HERE = Buffer.concat([Buffer.of(0, 0, 0, 0, 0, 0, 0, 51), Buffer.alloc(20, 1)]);
const welcome = { chainId: 51n, contract: new Uint8Array(20).fill(1) } as BlobSession["welcome"];
const sha256 = (content: Uint8Array) => createHash("sha256").update(content).digest();

const failure = (code: status, details = "no") => Object.assign(new Error(`${code} ${details}`), { code, details });

/** What a fetch is answered: pieces and perhaps an error, or never. */
type Answer = (signal: AbortSignal) => AsyncIterable<Uint8Array>;

async function* pieces(...all: readonly (Uint8Array | Error)[]): AsyncGenerator<Uint8Array> {
  for (const piece of all) {
    if (piece instanceof Error) throw piece;
    yield piece;
  }
}

async function* never(signal: AbortSignal): AsyncGenerator<Uint8Array> {
  await new Promise((_, reject) => signal.addEventListener("abort", () => reject(failure(status.CANCELLED))));
}

/** A session whose fetches are answered one after the other, the last answer for all that follow. */
class ScriptedSession implements BlobSession {
  readonly welcome;
  readonly #answers: Answer[];
  open = true;
  fetches = 0;
  /** Of those that have begun, how many were cancelled. */
  cancelled = 0;

  constructor(answers: readonly Answer[], of = welcome) {
    this.#answers = [...answers];
    this.welcome = of;
  }

  fetchBlob(_: Uint8Array, signal: AbortSignal): AsyncIterable<Uint8Array> {
    this.fetches++;
    signal.addEventListener("abort", () => this.cancelled++);
    return (this.#answers.length > 1 ? this.#answers.shift()! : this.#answers[0]!)(signal);
  }
}

async function setUp(...answers: readonly Answer[]) {
  const { logger, lines } = recordingLogger();
  const dir = join(await temporaryFolder(), "blobs");
  const cache = new BlobCache({ logger }, { dir, maxBytes: 2 ** 20 });
  const blobs = new Blobs({ logger, cache }, { maxBytes: 500_000, retryMs: 1 });
  const session = new ScriptedSession(answers);
  const abort = new AbortController();
  onTestFinished(() => abort.abort());
  const get = (digest: Uint8Array, signal = abort.signal) => blobs.get(digest, { networkId: HERE, signal });
  return { blobs, session, dir, lines, abort, get };
}

describe("a blob", () => {
  const content = randomBytes(200_000);
  const whole = () => pieces(content.subarray(0, 100_000), content.subarray(100_000));

  test("is fetched once, and then read from disk", async () => {
    const { blobs, session, get } = await setUp(whole);
    blobs.opened(session);
    expect(await get(sha256(content))).toEqual(content);
    blobs.closed();
    expect(await get(sha256(content))).toEqual(content);
    expect(session.fetches).toBe(1);
  });

  test("is fetched once for concurrent requests", async () => {
    const { blobs, session, get } = await setUp(whole);
    blobs.opened(session);
    const all = await Promise.all(Array.from({ length: 5 }, () => get(sha256(content))));
    expect(new Set(all).size).toBe(1);
    expect(session.fetches).toBe(1);
  });

  test("waits for a session", async () => {
    const { blobs, session, get } = await setUp(whole);
    const blob = get(sha256(content));
    blobs.opened(session);
    expect(await blob).toEqual(content);
  });

  test("ends a request at its signal, and the fetch with its last request", async () => {
    const { blobs, session, get } = await setUp(never);
    blobs.opened(session);
    const [one, other] = [new AbortController(), new AbortController()];
    const [first, second] = [one, other].map(({ signal }) =>
      expect(get(sha256(content), signal)).rejects.toMatchObject({ name: "AbortError" }),
    );
    await expect.poll(() => session.fetches).toBe(1);
    one.abort();
    await first;
    expect(session.cancelled).toBe(0);
    other.abort();
    await second;
    expect(session.cancelled).toBe(1);
    await expect(get(sha256(content), one.signal)).rejects.toMatchObject({ name: "AbortError" });
  });

  test("is fetched again for a request after an abandoned fetch", async () => {
    const { blobs, session, get } = await setUp(never, whole);
    blobs.opened(session);
    const abort = new AbortController();
    const left = get(sha256(content), abort.signal);
    await expect.poll(() => session.fetches).toBe(1);
    abort.abort();
    await expect(left).rejects.toMatchObject({ name: "AbortError" });
    expect(await get(sha256(content))).toEqual(content);
  });

  test.each([status.UNAVAILABLE, status.RESOURCE_EXHAUSTED, status.UNAUTHENTICATED, status.INTERNAL])(
    "is fetched again after status %d, from the beginning",
    async (code) => {
      const broken = () => pieces(content.subarray(0, 100), failure(code));
      const { blobs, session, lines, get } = await setUp(broken, broken, whole);
      blobs.opened(session);
      expect(await get(sha256(content))).toEqual(content);
      expect(session.fetches).toBe(3);
      expect(lines.map(({ msg }) => msg)).toEqual(["cannot fetch a blob, trying again"]);
    },
  );

  test("is fetched from the next coordinator when the session is lost", async () => {
    const { blobs, session, get } = await setUp(() => pieces(content.subarray(0, 100), failure(status.UNAVAILABLE)));
    session.open = false;
    const other = new ScriptedSession([whole]);
    blobs.opened(session);
    const blob = get(sha256(content));
    blobs.closed();
    blobs.opened(other);
    expect(await blob).toEqual(content);
    expect(other.fetches).toBe(1);
  });

  test("is not requested from a coordinator of another network", async () => {
    const { blobs, session, get } = await setUp(whole);
    const elsewhere = new ScriptedSession([whole], { ...welcome, chainId: 50n });
    blobs.opened(elsewhere);
    const blob = get(sha256(content));
    blobs.closed();
    blobs.opened(session);
    expect(await blob).toEqual(content);
    expect(elsewhere.fetches).toBe(0);
  });

  test.each<[string, Answer]>([
    ["NOT_FOUND", () => pieces(failure(status.NOT_FOUND))],
    ["REFUSED", () => pieces(failure(status.UNIMPLEMENTED))],
    ["REFUSED", () => pieces(failure(status.INVALID_ARGUMENT))],
    ["TOO_LARGE", () => pieces(...Array.from({ length: 6 }, () => content.subarray(0, 100_000)))],
    ["DAMAGED", () => pieces(randomBytes(100))],
  ])("that a node cannot have is an error %s", async (code, answer) => {
    const { blobs, session, dir, get } = await setUp(answer);
    blobs.opened(session);
    const error = await get(sha256(content)).catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(BlobError);
    expect(error).toMatchObject({ code });
    expect(await readdir(dir).catch(() => [])).toEqual([]);
  });

  test("is fetched again when it arrives damaged", async () => {
    const { blobs, session, get } = await setUp(() => pieces(content.subarray(1)), whole);
    blobs.opened(session);
    expect(await get(sha256(content))).toEqual(content);
  });

  test("waits while two others are fetched", async () => {
    const { blobs, session, abort, get } = await setUp(never);
    blobs.opened(session);
    const first = new AbortController();
    const waiting = [get(randomBytes(32), first.signal), get(randomBytes(32)), get(randomBytes(32))];
    const ended = waiting.map((each) => expect(each).rejects.toMatchObject({ name: "AbortError" }));
    await expect.poll(() => session.fetches).toBe(2);
    for (let turn = 0; turn < 10; turn++) await new Promise((resolve) => setImmediate(resolve));
    expect(session.fetches).toBe(2);
    first.abort();
    await expect.poll(() => session.fetches).toBe(3);
    abort.abort();
    await Promise.all(ended);
  });
});

describe("a daemon's blob", () => {
  test("is fetched in the daemon's session", async () => {
    const coordinator = await scriptedCoordinator();
    const { executor } = await startDaemon([coordinator]);
    const session = await coordinator.nextSession();
    const content = randomBytes(300_000);
    session.assign(assignment());
    await expect.poll(() => executor.executions.length).toBe(1);
    expect(await executor.executions[0]!.io.blob(coordinator.blobs.put(content))).toEqual(content);
    expect(coordinator.blobs.sessions).toEqual([session.id]);
  });

  test("survives a lost session, and a restart of the daemon", async () => {
    const [first, second] = [await scriptedCoordinator(), await scriptedCoordinator()];
    const dataDir = await temporaryFolder();
    const { daemon, executor } = await startDaemon([first, second], { dataDir });
    const session = await first.nextSession();
    const content = randomBytes(300_000);
    const digest = second.blobs.put(content);
    first.blobs.next((call) => {
      call.write({ data: content.subarray(0, 65_536) });
      session.end({ code: status.UNAVAILABLE, details: "gone" });
      first.stop();
    });
    session.assign(assignment());
    await expect.poll(() => executor.executions.length).toBe(1);
    expect(await executor.executions[0]!.io.blob(digest)).toEqual(content);
    await daemon.stop();

    const third = await scriptedCoordinator();
    const again = await startDaemon([third], { dataDir });
    (await third.nextSession()).assign(assignment());
    await expect.poll(() => again.executor.executions.length).toBe(1);
    expect(await again.executor.executions[0]!.io.blob(digest)).toEqual(content);
    expect(third.blobs.sessions).toEqual([]);
  });

  test("is abandoned when its task is stopped", async () => {
    const coordinator = await scriptedCoordinator();
    const { executor } = await startDaemon([coordinator]);
    const session = await coordinator.nextSession();
    const cancelled = Promise.withResolvers<void>();
    coordinator.blobs.next((call) => call.once("cancelled", cancelled.resolve));
    const work = assignment();
    session.assign(work);
    await expect.poll(() => executor.executions.length).toBe(1);
    const blob = executor.executions[0]!.io.blob(randomBytes(32));
    const rejected = expect(blob).rejects.toMatchObject({ name: "AbortError" });
    await expect.poll(() => coordinator.blobs.sessions.length).toBe(1);
    session.send({ $case: "cancel", value: { assignmentId: work.assignmentId, reason: 1 } });
    await rejected;
    await cancelled.promise;
  });
});
