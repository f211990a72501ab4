import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { StatementSync } from "node:sqlite";
import { expect, test, vi } from "vitest";
import { openDatabase } from "./database.ts";
import { operationsOn } from "./operations.ts";

const WALLET = "0x70997970C51812dc3A010C7d01b50e0d17dc79C8";
const ID = "0x00000000000000000000000000000001";
const OWNER = { coordinatorId: "here", incarnation: ID } as const;

/** A list that sorts or skips rows would delay every other call once there are a million tasks. */
test("every list is read from an index, in order", async () => {
  const folder = await mkdtemp(join(tmpdir(), "plans-"));
  const database = openDatabase(join(folder, "store.db"));
  const store = operationsOn(database).reads;
  const texts = new Set<string>();
  const all = vi.spyOn(StatementSync.prototype, "all").mockImplementation(function (this: StatementSync) {
    texts.add(this.sourceSQL);
    return [];
  });
  const cursors = { task: [1, ID], id: ID, batch: 1 };
  const after = (position: unknown) => ({ cursor: Buffer.from(JSON.stringify(position)).toString("base64url") });
  for (const cursor of [{}, after(cursors.task)]) {
    store.tasks({ limit: 5, ...cursor });
    store.tasks({ limit: 5, requester: WALLET, ...cursor });
    store.tasks({ limit: 5, requester: WALLET, states: ["failed"], ...cursor });
  }
  for (const cursor of [{}, after(cursors.id)]) {
    store.receipts({ limit: 5, ...cursor });
    store.receipts({ limit: 5, provider: WALLET, ...cursor });
    store.receipts({ limit: 5, batchId: 1, ...cursor });
    store.receipts({ limit: 5, quarantined: true, ...cursor });
    store.receipts({ limit: 5, provider: WALLET, quarantined: true, ...cursor });
    store.nodes({ limit: 5, ...cursor });
    store.nodes({ limit: 5, wallet: WALLET, ...cursor });
    store.nodes({ limit: 5, status: "online", ...cursor });
    store.nodes({ limit: 5, coordinatorId: "here", ...cursor });
  }
  for (const cursor of [{}, after(cursors.batch)]) {
    store.batches({ limit: 5, ...cursor });
    store.batches({ limit: 5, unrecorded: true, ...cursor });
  }
  store.queuedTasks({ requesters: [WALLET], now: 1, limit: 5, excluded: [ID] });
  store.queueDepths();
  store.liveTasksOf(ID);
  store.orphanedTasks([OWNER], 5);
  store.liveAssignments(OWNER);
  store.cancellingTasks(OWNER);
  store.overdueTasks({ now: 1, owner: OWNER, limit: 5 });
  store.unbatchedReceipts(5);
  store.receiptsWithResult(1, 5);
  store.referredDigests([ID]);
  store.nodeCounts();
  all.mockRestore();
  expect(texts.size).toBe(39);

  for (const text of texts) {
    const steps = database
      .prepare(`EXPLAIN QUERY PLAN ${text}`)
      .all()
      .map(({ detail }) => `${detail}`);
    // Sorts, but only the few live tasks of an owner, from their index.
    const isFew = steps.some((step) => /^S.* tasks USING COVERING INDEX tasks_live/.test(step));
    const sorts = steps.filter((step) => step.includes("TEMP B-TREE") && !isFew);
    const scans = steps.filter(
      (step) => /^SCAN (?!json_each)(?!.* USING (?:COVERING )?INDEX)/.test(step) && !text.includes("WHERE TRUE"),
    );
    expect({ text, steps, sorts, scans }).toEqual({ text, steps, sorts: [], scans: [] });
  }
  database.close();
  await rm(folder, { recursive: true });
});
