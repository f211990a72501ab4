import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { Receipt } from "@proof-of-compute/coordinator/domain/receipt";
import type { TaskView } from "@proof-of-compute/coordinator/edges/rest/tasks/schemas";
import { type Hex, parseAddress } from "@proof-of-compute/proto";
import { matmulUnits } from "@proof-of-compute/proto/kinds/matmul";
import { Wallet } from "ethers";
import { expect, it, onTestFinished } from "vitest";
import { Requester } from "../../scripts/local/requester.ts";
import { type Program, seededRandom } from "../support/process.ts";
import { openTestStore } from "../support/store.ts";
import { TestNetwork } from "../support/test-network.ts";

/** Kills of each kind of process. */
const KILLS = Number(process.env.KILLS ?? 30);
const SEED = Number(process.env.SEED ?? Math.floor(Math.random() * 2 ** 31));
/** Tasks in progress at a time. */
const OUTSTANDING = 6;
const CHECKED: ReadonlySet<string> = new Set(["verified", "batched", "recorded"]);

it(`settles every task once while the coordinator and the daemons are killed ${KILLS} times each (SEED=${SEED})`, async () => {
  const random = seededRandom(SEED);
  const network = await TestNetwork.start({ BATCH_MAX_WAIT: "500ms", LEASE_TIME: "3s", LOG_LEVEL: "warn" });
  onTestFinished(() => network.stop());
  const { coordinator } = network;
  const wallets = [Wallet.createRandom(), Wallet.createRandom()].map(({ address }) => parseAddress(address));
  const daemons = wallets.map((wallet) =>
    network.startDaemon("--wallet-address", wallet, "--coordinator", network.grpcAddress, "--slots", "2"),
  );
  const programs = [coordinator, ...daemons];

  const done = new AbortController();
  const submitted = new Map<Hex, { readonly units: bigint; readonly read: () => Promise<TaskView> }>();
  try {
    const submitting = Array.from({ length: OUTSTANDING }, (_, lane) => submitAll(lane));
    // Daemons measure themselves at their first start. Disturb the network once work flows.
    await expect.poll(() => submitted.size, { timeout: 60_000 }).toBeGreaterThan(OUTSTANDING);
    await Promise.race([Promise.all([killOften([coordinator]), killOften(daemons)]), Promise.all(submitting)]);
    done.abort();
    await Promise.all(submitting);
    for (const { read } of submitted.values()) {
      const state = () => read().then((task) => task.state, String);
      await expect.poll(state, { timeout: 90_000, interval: 200 }).toBe("recorded");
    }
    for (const program of programs.toReversed()) expect(await program.end("SIGTERM"), program.lastLines).toBe(0);
  } finally {
    done.abort();
  }
  await compareStoreAndChain();

  /** Kills one of the programs and starts it again, at random moments of its start and of its work. */
  async function killOften(victims: readonly Program[]): Promise<void> {
    for (let kill = 0; kill < KILLS; kill++) {
      await sleep(200 + random() * 4_000);
      const victim = victims[Math.floor(random() * victims.length)]!;
      victim.assertAlive();
      await victim.end("SIGKILL");
      victim.start();
    }
  }

  /** Submits tasks until the test stops it. Repeats a failed request with its key until there is an answer. */
  async function submitAll(lane: number): Promise<void> {
    const wallet = new Wallet(Wallet.createRandom().privateKey);
    const requester = new Requester(network.origin);
    const limit = () => AbortSignal.timeout(5_000);
    const signedIn = async <T>(ask: () => Promise<T>): Promise<T> => {
      try {
        return await ask();
      } catch (error) {
        if (String(error).includes("401")) await requester.signIn(wallet, limit());
        throw error;
      }
    };
    for (let i = 0; !done.signal.aborted; i++) {
      const [n, k] = [64 * (1 + Math.floor(random() * 8)), 2 + Math.floor(random() * 3)];
      const key = `${SEED}-${lane}-${i}`;
      const task = await persist(() =>
        signedIn(() => requester.dispatch({ kind: "matmul", matmul: { n, k } }, key, limit())),
      );
      const id = task.id as Hex;
      const read = () => persist(() => signedIn(() => requester.task(id, limit())));
      submitted.set(id, { units: matmulUnits(n, k), read });
      while (!done.signal.aborted && !CHECKED.has((await read()).state)) await sleep(100);
    }
  }

  async function persist<T>(ask: () => Promise<T>): Promise<T> {
    for (;;) {
      try {
        return await ask();
      } catch {
        for (const program of programs) program.assertAlive();
        await sleep(100);
      }
    }
  }

  async function compareStoreAndChain(): Promise<void> {
    const { store, stop } = await openTestStore(join(network.folder, "coordinator"));
    const receipts: Receipt[] = [];
    for (let cursor: string | undefined; ; ) {
      const page = await store.receipts({ limit: 100, ...(cursor && { cursor }) });
      receipts.push(...page.items);
      cursor = page.cursor;
      if (!cursor) break;
    }
    expect(receipts.map(({ taskId }) => taskId).sort()).toEqual([...submitted.keys()].sort());
    const batches = await Promise.all(
      [...new Set(receipts.map(({ batchId }) => batchId!))].map((id) => store.batch(id)),
    );
    expect(batches.flatMap((batch) => batch!.receiptIds).sort()).toEqual(
      receipts.map(({ receiptId }) => receiptId).sort(),
    );
    expect(new Set(batches.map((batch) => batch!.state))).toEqual(new Set(["recorded"]));
    await stop();

    expect(await network.nextBatch()).toBe(BigInt(batches.length + 1));
    let total = 0n;
    for (const wallet of wallets) {
      const earned = receipts.filter(({ provider }) => provider === wallet).reduce((sum, { units }) => sum + units, 0n);
      expect(await network.units(wallet)).toBe(earned);
      total += earned;
    }
    expect(total).toBe([...submitted.values()].reduce((sum, { units }) => sum + units, 0n));
    console.log(`${submitted.size} tasks, ${batches.length} batches, ${total} units: store and chain agree`);
  }
}, 600_000);
