import { anOffer } from "@proof-of-compute/tests/support/fleet";
import { ALICE, TestCoordinator } from "@proof-of-compute/tests/support/test-coordinator";
import { beforeEach, describe, expect, it, vi } from "vitest";
import { MemoryStore } from "../../adapters/memory/store.ts";
import { liveAssignment, type Task } from "../../domain/task.ts";
import { newId } from "../../util/ids.ts";
import type { TaskRequest } from "./scheduler.ts";

const REQUEST: TaskRequest = {
  requester: ALICE,
  kind: "echo",
  spec: { input: Uint8Array.of(1, 2, 3) },
  deadlineMs: 60_000,
};

let store: MemoryStore;
let coordinator: TestCoordinator;
/** What was written, in order. */
let writes: ["insert" | "save", Task][];

beforeEach(async () => {
  store = new MemoryStore();
  await store.start();
  coordinator = new TestCoordinator(store, "test", 1, () => {});
  await coordinator.start();
  writes = [];
  const { insertTask, saveTask } = store;
  store.insertTask = (task) => {
    writes.push(["insert", task]);
    return insertTask.call(store, task);
  };
  store.saveTask = (task, made) => {
    writes.push(["save", task]);
    return saveTask.call(store, task, made);
  };
});

describe("submitting", () => {
  it("stores and leases a task in one write when a node is free, and sends it once that is stored", async () => {
    const { node, link } = await coordinator.join(anOffer());
    const submitting = coordinator.scheduler.submit(REQUEST);
    expect([node.capacity, link.assigned]).toEqual([3, []]);
    const { task, created } = await submitting;
    expect(created).toBe(true);
    expect(writes).toEqual([["insert", task]]);
    expect(task).toMatchObject({ state: "running", version: 1, owner: coordinator.peers.self });
    expect(link.assigned).toEqual([liveAssignment(task)!.id]);
  });

  it("stores a task that has to wait, and leases it with the next write", async () => {
    const { task } = await coordinator.scheduler.submit(REQUEST);
    expect(task).toMatchObject({ state: "queued", assignments: {} });
    expect(coordinator.scheduler.depth()).toEqual({ queued: 1, running: 0 });
    const { link } = await coordinator.join(anOffer());
    await vi.waitFor(() => expect(link.assigned).toHaveLength(1));
    expect(writes.map(([how, { state }]) => `${how} ${state}`)).toEqual(["insert queued", "save running"]);
    expect(coordinator.scheduler.depth()).toEqual({ queued: 0, running: 1 });
  });

  it("with a taken id gives the stored task back, and takes nobody's capacity", async () => {
    const { node, link } = await coordinator.join(anOffer());
    const request = { ...REQUEST, id: newId() };
    const { task } = await coordinator.scheduler.submit(request);
    expect(await coordinator.scheduler.submit(request)).toEqual({ task, created: false });
    expect([node.capacity, link.assigned.length]).toEqual([3, 1]);
  });

  it("frees the capacity that it took when the store refuses", async () => {
    const { node } = await coordinator.join(anOffer());
    await store.stop();
    await expect(coordinator.scheduler.submit(REQUEST)).rejects.toMatchObject({ code: "UNAVAILABLE" });
    expect([node.capacity, coordinator.scheduler.depth()]).toEqual([4, { queued: 0, running: 0 }]);
  });

  it("is refused while the coordinator drains", async () => {
    coordinator.scheduler.drain();
    await expect(coordinator.scheduler.submit(REQUEST)).rejects.toMatchObject({ code: "DRAINING" });
    expect(writes).toEqual([]);
  });
});

describe("deadlines", () => {
  it("end what waits and what runs, and its node is told", async () => {
    const { node, link } = await coordinator.join(anOffer({ slots: 1 }));
    const [runs, waits] = [await coordinator.scheduler.submit(REQUEST), await coordinator.scheduler.submit(REQUEST)];
    const assignment = coordinator.leases.ofTask(runs.task.id)!;
    coordinator.leases.advance(assignment, 0.5);
    for (let second = 0; second < 62; second++) {
      coordinator.fleet.heard(node);
      await coordinator.clock.run(1_000, 500);
    }
    for (const { task } of [runs, waits]) {
      expect(await store.task(task.id)).toMatchObject({ state: "failed", error: { code: "DEADLINE_PASSED" } });
    }
    expect(link.cancelled).toEqual([{ id: assignment.id, reason: "DEADLINE" }]);
    expect(node.capacity).toBe(1);
  });

  it("leave a result that arrived in time to its check", async () => {
    const { node } = await coordinator.join(anOffer());
    const { task } = await coordinator.scheduler.submit(REQUEST);
    const assignment = coordinator.leases.ofTask(task.id)!;
    assignment.toChecking();
    for (let second = 0; second < 62; second++) {
      coordinator.fleet.heard(node);
      await coordinator.clock.run(1_000, 500);
    }
    await coordinator.complete(assignment);
    expect(await store.task(task.id)).toMatchObject({ state: "verified" });
  });
});
