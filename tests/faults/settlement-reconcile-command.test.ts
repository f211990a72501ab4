import { execFile } from "node:child_process";
import { randomBytes } from "node:crypto";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { openStore } from "@proof-of-compute/coordinator/compose/open-store";
import { toHex } from "@proof-of-compute/proto";
import { pino } from "pino";
import { describe, expect, test, vi } from "vitest";
import { WAIT } from "../support/both-sides.ts";
import { mongoOrSkip } from "../support/mongo.ts";
import { someWallet } from "../support/settling.ts";
import { startTestCoordinator } from "../support/start-coordinator.ts";
import { storeSettings } from "../support/store.ts";
import { it, sides, useSettling } from "../support/use-settling.ts";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));

const alice = someWallet();
const bob = someWallet();
const carol = someWallet();

useSettling();

describe("npm run reconcile, beside a coordinator", () => {
  /** Runs a coordinator on the store's folder until `condition` holds for its settlement. */
  async function coordinate(
    condition: (settlement: Settlement) => void,
    meanwhile?: () => Promise<void>,
  ): Promise<void> {
    await it.lend(async () => {
      const coordinator = await startTestCoordinator({
        ...(await environment()),
        RECORDER_PRIVATE_KEY: it.chain.key(1),
        BATCH_MAX_WAIT: "1ms",
        CHAIN_POLL_INTERVAL: "50ms",
      });
      try {
        await vi.waitFor(async () => {
          const network = (await (await fetch(`${coordinator.origin}/api/network`)).json()) as {
            settlement: Settlement;
          };
          condition(network.settlement);
        }, WAIT);
        await meanwhile?.();
      } finally {
        await coordinator.stop();
      }
    });
  }

  interface Settlement {
    readonly state: string;
    readonly reason?: string;
    readonly lastRecorded?: number;
  }

  const environment = async () => ({
    DATA_DIR: it.directory,
    XDC_RPC_URL: it.proxy.url,
    PROOF_OF_COMPUTE_ADDRESS: it.contract,
    LEASE_TIME: "3s",
    HEARTBEAT_INTERVAL: "1s",
    ...(await storeSettings(it.directory)),
  });
  const recorded = (id: number) => (settlement: Settlement) =>
    expect(settlement).toMatchObject({ state: "running", lastRecorded: id });

  /** Runs `npm run reconcile` as a process. */
  async function run(...flags: readonly string[]): Promise<{ code: number; output: string }> {
    return runWith({}, flags);
  }

  async function runWith(
    settings: Record<string, string>,
    flags: readonly string[],
  ): Promise<{ code: number; output: string }> {
    const env = { ...process.env, ...(await environment()), ...settings, NO_COLOR: "1" };
    return new Promise((resolve) => {
      execFile(
        process.execPath,
        ["coordinator/src/commands/reconcile/main.ts", ...flags],
        { cwd: ROOT, env },
        (error, stdout, stderr) => {
          resolve({ code: error ? Number(error.code) : 0, output: stdout + stderr });
        },
      );
    });
  }

  /** Runs it on the store that the test has open. */
  function reconcile(...flags: readonly string[]): Promise<{ code: number; output: string }> {
    return it.lend(() => run(...flags));
  }

  test("after yesterday's backup settlement stops, reconcile repairs the store, and the coordinator continues", async () => {
    await sides.verify([alice, bob]);
    await coordinate(recorded(1));
    await sides.verify([alice]);
    const restore = await it.backup();
    await coordinate(recorded(2));
    await sides.verify([bob, carol]);
    await coordinate(recorded(3));
    await restore();
    await sides.verify([alice, carol]);

    await coordinate(
      (settlement) => {
        expect(settlement.state).toBe("stopped");
        expect(settlement.reason).toContain("npm run reconcile");
      },
      async () => {
        expect(await run("--fix")).toEqual({
          code: 2,
          output: expect.stringMatching(/another coordinator uses|stop every coordinator/),
        });
      },
    );
    const dry = await reconcile();
    expect(dry).toEqual({ code: 1, output: expect.stringMatching(/only on chain[\s\S]*do not agree/) });
    expect(await it.lastBatch()).toMatchObject({ id: 1 });

    const fixed = await reconcile("--fix");
    expect(fixed.output).toContain("batch 2: found its 1 receipts");
    expect(fixed.output).toContain("batch 3: imported from the chain");
    expect(fixed.output).toContain("receipts in quarantine: 2");
    expect(fixed.code).toBe(0);
    // Both were accepted after the restore, so no lost batch has them.
    const released = await reconcile("--release-quarantine", "all");
    expect(released).toEqual({ code: 0, output: expect.stringContaining("released 2 receipts") });
    await coordinate(recorded(4));
    await sides.expectPaidOnce();
    const report = JSON.parse((await reconcile("--json")).output) as { agree: boolean; batches: { verdict: string }[] };
    expect(report.agree).toBe(true);
    expect(report.batches.map(({ verdict }) => verdict)).toEqual(["same", "same", "same", "same"]);
  });

  test("a lost database is rebuilt as far as the chain knows", async () => {
    await sides.verify([alice, bob]);
    await coordinate(recorded(1));
    await sides.verify([bob]);
    await coordinate(recorded(2));
    await (await it.owned().getFunction("recordCompute")(alice)).wait();
    sides.owed.set(alice, sides.owed.get(alice)! + 1n);
    await it.lose();

    expect(await reconcile()).toEqual({ code: 1, output: expect.stringContaining("the store is empty") });
    const fixed = await reconcile("--fix");
    expect(fixed).toEqual({ code: 0, output: expect.stringContaining("batch 2: imported from the chain") });
    expect(await it.store.boundTo()).toEqual({ chainId: 31337, address: it.contract });
    expect((await reconcile("--fix")).code).toBe(0);
    await sides.verify([alice, carol]);
    await coordinate(recorded(3));
    await sides.expectPaidOnce();
    expect((await reconcile()).code).toBe(0);
  });

  test("refuses impossible requests", async () => {
    const wrong = [
      [["--fix", "--release-quarantine", "all"], /--fix first/],
      [["--release-quarantine", "0x00"], /not a receipt in quarantine/],
    ] as const;
    for (const [flags, message] of wrong) {
      expect(await reconcile(...flags)).toEqual({ code: 2, output: expect.stringMatching(message) });
    }
    await it.store.bind({ chainId: 50, address: it.contract }, false);
    expect(await reconcile()).toEqual({ code: 2, output: expect.stringContaining("the store belongs to") });
  });

  test("refuses a folder without a database; --fix creates one", async () => {
    const elsewhere = join(it.directory, "elsewhere");
    await sides.verify([alice]);
    await sides.recordAll();
    for (const flags of [[], ["--release-quarantine", "all"]]) {
      expect(await runWith({ MONGODB_URI: "" }, ["--data-dir", elsewhere, ...flags])).toEqual({
        code: 2,
        output: expect.stringMatching(/there is no .*elsewhere.*--fix/),
      });
      expect(existsSync(elsewhere)).toBe(false);
    }
    expect(await runWith({ MONGODB_URI: "" }, ["--data-dir", elsewhere, "--fix"])).toEqual({
      code: 0,
      output: expect.stringContaining("batch 1: imported from the chain"),
    });
  });

  test("detects a coordinator that starts while the command reads the chain, before any change", async (context) => {
    const MONGODB_URI = (await mongoOrSkip(context)).uri();
    const opened = await openStore({ MONGODB_URI, DATA_DIR: it.directory }, pino({ level: "silent" }));
    try {
      await sides.verify([alice]);
      await sides.recordAll();
      const record = { address: "http://127.0.0.1:1", version: "0.1.0", startedAt: 0, beat: 0 };
      it.proxy.fault = async ({ method }) => {
        const incarnation = toHex(randomBytes(16));
        if (method === "eth_getLogs") await opened.store.register({ coordinatorId: "late", incarnation, ...record });
        return undefined;
      };
      expect(await runWith({ MONGODB_URI }, ["--fix"])).toEqual({
        code: 2,
        output: expect.stringContaining("stop every coordinator first: late is alive"),
      });
      expect(await opened.store.batches({ limit: 1 })).toMatchObject({ items: [] });
    } finally {
      await opened.stop();
    }
  });
});
