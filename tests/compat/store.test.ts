import { createPrivateKey } from "node:crypto";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { openStore } from "@proof-of-compute/coordinator/compose/open-store";
import type { Receipt } from "@proof-of-compute/coordinator/domain/receipt";
import { liveAssignment, type Task, type TaskState } from "@proof-of-compute/coordinator/domain/task";
import type { TaskView } from "@proof-of-compute/coordinator/rest";
import { type Address, fromHex, type Hex, PROOF_OF_COMPUTE_ABI, sha256, toHex } from "@proof-of-compute/proto";
import { FailureCode, Verdict } from "@proof-of-compute/proto/node";
import { verifyReceipt } from "@proof-of-compute/proto/verify";
import { readChainFacts } from "@proof-of-compute/proto/verify-chain";
import { Contract, Wallet } from "ethers";
import { pino } from "pino";
import { describe, expect, onTestFinished, test } from "vitest";
import { Requester } from "../../scripts/local/requester.ts";
import { readAll } from "../conformance/snapshot.ts";
import { startLocalChain } from "../support/local-chain.ts";
import { Program } from "../support/process.ts";
import { ScriptedNode } from "../support/scripted-node.ts";
import { startTestCoordinator } from "../support/start-coordinator.ts";
import { PATIENCE } from "../support/test-network.ts";
import { type Facts, readFacts, restore, restoreDaemon } from "./fixtures.ts";

/** Whoever reads the fixtures lives long after they were recorded. */
const FOREVER = "36500d";
const logger = pino({ level: "silent" });

/** The state of each of the recorded tasks. */
const STATES: Readonly<Record<keyof Facts["tasks"], TaskState>> = {
  recorded: "verified",
  batched: "verified",
  unbatched: "verified",
  running: "running",
  resumed: "running",
  cancelling: "cancelling",
  queued: "queued",
  failed: "failed",
  cancelled: "cancelled",
};

describe.each(["sqlite", "mongodb"] as const)("a store of the version before, in %s", (kind) => {
  test("opens, and everything in it reads", async (context) => {
    const facts = await readFacts(kind);
    const { DATA_DIR, MONGODB_URI } = await restore(kind, context);
    const { store, blobs, stop } = await openStore({ DATA_DIR, MONGODB_URI: MONGODB_URI || undefined }, logger);
    onTestFinished(stop);
    expect(await store.boundTo()).toEqual({ chainId: facts.chainId, address: facts.contract });

    const tasks = await readAll((query) => store.tasks(query));
    const states = Object.entries(facts.tasks).flatMap(([name, ids]) =>
      ids.map((id): [Hex, TaskState] => [id, STATES[name as keyof Facts["tasks"]]]),
    );
    expect(new Map(tasks.map(({ id, state }) => [id, state]))).toEqual(new Map(states));
    for (const task of tasks) {
      expect(task).toMatchObject({ kind: "matmul", requester: facts.requester });
      expect(Boolean(liveAssignment(task))).toBe(task.state === "running" || task.state === "cancelling");
      expect(await store.task(task.id)).toEqual(task);
    }

    const receipts = await readAll((query) => store.receipts(query));
    const ofTasks = tasks.flatMap(({ assignments }) =>
      Object.values(assignments).flatMap(({ receipt }) => receipt ?? []),
    );
    const accepted = ({ batchId: _, quarantined: __, ...receipt }: Receipt) => receipt;
    expect(receipts.map(accepted)).toEqual(ofTasks.toSorted((a, b) => (a.receiptId < b.receiptId ? -1 : 1)));
    expect(receipts.filter(({ batchId }) => batchId === 1)).toHaveLength(3);
    expect(receipts.filter(({ batchId }) => batchId === 2)).toHaveLength(2);
    expect(receipts.filter(({ quarantined }) => quarantined).length).toBeGreaterThan(0);
    expect(await store.unbatchedReceipts(9)).toEqual(
      receipts.filter(({ batchId, quarantined }) => batchId === undefined && !quarantined),
    );
    expect(await store.receiptsWithResult(Number.MAX_SAFE_INTEGER, 99)).toHaveLength(receipts.length);
    let large = 0;
    for (const { taskId, resultDigest } of receipts) {
      const output = await store.output(taskId);
      const blob = await blobs.get(resultDigest);
      expect(toHex(sha256((output ?? blob)!))).toBe(resultDigest);
      expect(await store.referredDigests([resultDigest])).toEqual(output && kind === "sqlite" ? [] : [resultDigest]);
      if (blob) large++;
    }
    expect(large).toBe(1);

    const batches = await readAll((query) => store.batches(query));
    expect(batches).toMatchObject([
      { id: 2, state: "closed", transaction: expect.stringMatching(/^0x/) },
      { id: 1, state: "recorded", block: expect.any(Number) },
    ]);
    expect((await store.batch(1))!.receiptIds.toSorted()).toEqual(
      receipts.flatMap(({ receiptId, batchId }) => (batchId === 1 ? [receiptId] : [])),
    );

    const nodes = await readAll((query) => store.nodes(query));
    expect(nodes).toHaveLength(6);
    for (const { offers, slots, owner } of nodes) {
      expect(owner.coordinatorId).toBe("before");
      expect(offers).toEqual([{ kind: "matmul", slots, unitsPerSecond: expect.any(Number) }]);
    }
    const [daemon] = (await store.nodes({ limit: 9, wallet: facts.wallets.daemon })).items;
    expect(await store.standing(daemon!.id, daemon!.wallet)).toMatchObject({ cap: 4, valid: 5, faults: 0 });
    expect(await store.coordinators()).toMatchObject([{ coordinatorId: "before", version: "0.1.0" }]);
    expect(await store.lockHolder("settlement")).toMatchObject({ coordinatorId: "before" });
    for (const name of ["peers", "sessions"]) expect(await store.secret(name)).toHaveLength(32);

    const count = (state: TaskState) => tasks.filter((task) => task.state === state).length;
    const sum = (some: readonly Receipt[]) => some.reduce((units, receipt) => units + receipt.units, 0n);
    expect(await store.totals()).toMatchObject({
      tasks: { queued: 2, running: 3, cancelling: 1, verified: count("verified"), failed: 1, cancelled: 2 },
      receipts: receipts.length,
      units: { verified: sum(receipts), recorded: batches[1]!.units },
    });
  });

  test("goes on: every task that can be is verified and recorded, once", async (context) => {
    const facts = await readFacts(kind);
    const settings = await restore(kind, context);
    const chain = await startLocalChain();
    onTestFinished(() => chain.stop());
    const { address, recorderKey } = await chain.deploy();
    expect(address).toBe(facts.contract);
    const keystore = join(settings.DATA_DIR, "..", "recorder.key");
    await writeFile(keystore, recorderKey, { mode: 0o600 });
    const coordinator = await startTestCoordinator({
      ...settings,
      // The next run of the coordinator that died.
      COORDINATOR_ID: "before",
      XDC_RPC_URL: chain.url,
      PROOF_OF_COMPUTE_ADDRESS: address,
      RECORDER_KEYSTORE: keystore,
      BATCH_MAX_WAIT: "500ms",
      CHAIN_POLL_INTERVAL: "200ms",
      HEARTBEAT_INTERVAL: "500ms",
      // In SQLite every node comes back, however busy this machine is; in MongoDB the daemon does not.
      LEASE_TIME: kind === "sqlite" ? "120s" : "15s",
      RESULT_RETENTION: FOREVER,
      TASK_RETENTION: FOREVER,
    });
    onTestFinished(() => coordinator.stop());
    const { store, grpcAddress, origin } = coordinator;
    const read = async (id: Hex) => (await store.task(id))!;

    // Both nodes come back with the assignments that they had.
    for (const { key, taskId, assignmentId } of facts.holders) {
      const task = await read(taskId);
      const node = new ScriptedNode({
        address: grpcAddress,
        wallet: facts.wallets.holder,
        privateKey: createPrivateKey(key),
        running: [fromHex(assignmentId)],
      });
      onTestFinished(() => node.drop());
      await node.open();
      const assignment = { assignmentId: fromHex(assignmentId), taskId: fromHex(taskId), spec: task.spec };
      if (task.state === "cancelling") {
        expect(toHex((await node.next("cancel")).assignmentId)).toBe(assignmentId);
        const failure = {
          assignmentId: assignment.assignmentId,
          code: FailureCode.FAILURE_CODE_CANCELLED,
          detail: "as asked",
        };
        node.send({ $case: "failure", value: failure });
        await expect.poll(async () => (await read(taskId)).state, PATIENCE).toBe("cancelled");
      } else {
        node.sendResults([node.result(assignment, node.solve(assignment))]);
        expect(await node.ack()).toMatchObject({ verdict: Verdict.VERDICT_ACCEPTED });
      }
      node.send({ $case: "draining", value: { reason: "done" } });
    }

    // So does the daemon, after its own upgrade, with results that its outbox has kept.
    const daemon = new Program(
      "daemon/src/main.ts",
      ["--coordinator", grpcAddress, "--data-dir", await restoreDaemon(), "--slots", "2", "--log", "json"],
      { WALLET_ADDRESS: facts.wallets.resumed, RPC_URL: chain.url },
    );
    onTestFinished(async () => void (await daemon.end("SIGKILL")));
    const before = await read(facts.tasks.resumed[0]!);
    daemon.start();

    const signal = AbortSignal.timeout(2 * PATIENCE.timeout);
    const requester = new Requester(origin);
    await requester.signIn(new Wallet(facts.requesterKey), signal);
    const { recorded, batched, running, queued, unbatched } = facts.tasks;
    const receipts = await readAll((query) => store.receipts(query));
    const held = new Set(receipts.filter(({ quarantined }) => quarantined).map(({ taskId }) => taskId));
    const settling = [...recorded, ...batched, ...running, ...queued, ...unbatched].filter((id) => !held.has(id));
    await expect
      .poll(async () => {
        daemon.assertAlive();
        const { tasks, unbatched } = await store.totals();
        const open = await store.batches({ limit: 9, unrecorded: true });
        return [tasks.queued, tasks.running, tasks.cancelling, unbatched.count, open.items.length];
      }, PATIENCE)
      .toEqual([0, 0, 0, 0, 0]);
    for (const id of settling) expect((await requester.task(id, signal)).state).toBe("recorded");
    for (const id of held) expect((await requester.task(id, signal)).state).toBe("verified");
    if (kind === "sqlite") {
      // Its results were those of the assignments that it had, not computed again.
      const [assignmentId] = Object.keys(before.assignments);
      expect(acceptedIn(await read(before.id)).receiptId).toBe(assignmentId);
    }

    // Each wallet has on the chain what its receipts say, those in quarantine aside.
    const units = new Map<Address, bigint>();
    for (const receipt of await readAll((query) => store.receipts(query))) {
      if (receipt.quarantined) continue;
      units.set(receipt.provider, (units.get(receipt.provider) ?? 0n) + receipt.units);
    }
    expect(units.size).toBeGreaterThan(2);
    const contract = new Contract(facts.contract, PROOF_OF_COMPUTE_ABI, chain.provider);
    for (const [wallet, sum] of units) {
      expect(await contract.getFunction("computeUnits")(wallet), wallet).toBe(sum);
    }

    // A request that was made before the upgrade finds its task.
    const again = async (n: number, k: number, key: string): Promise<TaskView> =>
      requester.dispatch({ kind: "matmul", matmul: { n, k } }, key, signal);
    expect((await again(64, 2, "recorded")).id).toBe(recorded[0]);
    expect((await again(64, 7, "queued")).id).toBe(queued[0]);
    await expect(again(64, 9, "queued")).rejects.toMatchObject({ status: 422 });

    // Receipts from before and after verify down to the chain.
    for (const id of [recorded[2]!, batched[0]!, queued[0]!]) {
      const { receiptId } = acceptedIn(await read(id));
      const result = await requester.result(id, signal);
      const links = verifyReceipt(await requester.receipt(receiptId, signal), {
        contract: facts.contract,
        chain: (where, batch) => readChainFacts(chain.provider, where, batch),
        result: () => result,
      });
      for await (const link of links) expect(link).toMatchObject({ status: "ok" });
    }
  });
});

function acceptedIn({ assignments }: Task): Receipt {
  return Object.values(assignments).find(({ receipt }) => receipt)!.receipt!;
}
