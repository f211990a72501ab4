import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { BlobError } from "@proof-of-compute/daemon/blobs/blob-error";
import { Daemon } from "@proof-of-compute/daemon/daemon";
import { newIdentity } from "@proof-of-compute/daemon/identity";
import { type Execution, type ExecutionIo, TaskFailedError, type Work } from "@proof-of-compute/daemon/kinds/kind";
import { MatmulExecutor } from "@proof-of-compute/daemon/kinds/matmul/executor";
import { parseEndpoint } from "@proof-of-compute/daemon/session/endpoint";
import { type Address, fromHex, type Hex, sha256, toHex } from "@proof-of-compute/proto";
import type { MatmulSpec } from "@proof-of-compute/proto/kinds/matmul";
import { Wallet } from "ethers";
import { pino } from "pino";
import { afterEach, describe, expect, it, onTestFinished, vi } from "vitest";
import { temporaryFolder } from "../support/daemon/daemon.ts";
import { type StartedCoordinator, startTestCoordinator } from "../support/start-coordinator.ts";

const REQUESTER = Wallet.createRandom().address as Address;
const PATIENCE = { timeout: 30_000, interval: 20 };

let coordinator: StartedCoordinator;

afterEach(() => coordinator.stop());

/** Computes products, once it has fetched what its test wants. */
class FetchingExecutor extends MatmulExecutor {
  wanted: Hex | undefined;
  readonly fetched: (Uint8Array | BlobError)[] = [];

  constructor() {
    super({ threads: 1 });
  }

  override execute(work: Work<MatmulSpec>, io: ExecutionIo): Execution {
    if (this.wanted === undefined) return super.execute(work, io);
    return { done: this.#fetch(fromHex(this.wanted), io).then(() => super.execute(work, io).done) };
  }

  async #fetch(digest: Uint8Array, io: ExecutionIo): Promise<void> {
    try {
      this.fetched.push(await io.blob(digest));
    } catch (error) {
      if (!(error instanceof BlobError)) throw error;
      this.fetched.push(error);
      throw new TaskFailedError(error.message, { cause: error });
    }
  }
}

async function startDaemon(dataDir: string) {
  const executor = new FetchingExecutor();
  const daemon = new Daemon(
    { logger: pino({ level: "silent" }), identity: await newIdentity(), executors: [executor] },
    {
      wallet: Wallet.createRandom().address as Address,
      coordinators: [parseEndpoint(coordinator.grpcAddress, { insecure: true })],
      slots: 1,
      dataDir,
      rates: new Map([["matmul", 250_000]]),
    },
  );
  onTestFinished(async () => {
    await daemon.stop();
    await executor.stop();
  });
  await daemon.start();
  return { daemon, executor };
}

/** The digest of a task's result, once its first attempt has ended; undefined when that was no result. */
async function submit(n: number): Promise<Hex | undefined> {
  const work = { kind: "matmul", spec: { n, k: 2 } } as const;
  const { task } = await coordinator.scheduler.submit({ requester: REQUESTER, ...work, deadlineMs: 60_000 });
  const attempt = await vi.waitFor(async () => {
    const { assignments } = (await coordinator.store.task(task.id))!;
    const ended = Object.values(assignments).find(({ state }) => state !== "live");
    if (!ended) throw new Error("the first attempt has not ended");
    return ended;
  }, PATIENCE);
  return attempt.receipt?.resultDigest;
}

describe("a daemon with a coordinator", () => {
  it("fetches by its digest what the coordinator stored, and keeps it", async () => {
    coordinator = await startTestCoordinator({ HEARTBEAT_INTERVAL: "200ms" });
    const dataDir = await temporaryFolder();
    const { executor } = await startDaemon(dataDir);
    const digest = (await submit(320))!;

    executor.wanted = digest;
    await submit(64);
    await submit(64);
    for (const blob of executor.fetched) {
      expect(blob).toHaveLength(320 * 320);
      expect(toHex(sha256(blob as Uint8Array))).toBe(digest);
    }
    expect(executor.fetched).toHaveLength(2);
    expect(await readdir(join(dataDir, "blobs"))).toEqual([digest.slice(2)]);
  });

  it("hears that there is no such content", async () => {
    coordinator = await startTestCoordinator({ HEARTBEAT_INTERVAL: "200ms" });
    const { daemon, executor } = await startDaemon(await temporaryFolder());
    executor.wanted = `0x${"ab".repeat(32)}`;
    expect(await submit(64)).toBeUndefined();
    expect(executor.fetched[0]).toMatchObject({ code: "NOT_FOUND" });
    // Products cannot fail by their own fault, so it counts as the node's.
    const { nodeFailures, taskFailures } = daemon.snapshot().counts;
    expect([nodeFailures > 0, taskFailures]).toEqual([true, 0]);
  });
});
