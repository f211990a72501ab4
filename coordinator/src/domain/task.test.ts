import type { Address, Hex } from "@proof-of-compute/proto";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { ComputeError } from "./errors.ts";
import type { Owner } from "./owner.ts";
import type { Receipt } from "./receipt.ts";
import {
  accept,
  assign,
  cancel,
  type Ending,
  endAssignment,
  expire,
  isFinal,
  liveAssignment,
  type Task,
  type TaskState,
  takeOver,
} from "./task.ts";

const WALLET: Address = "0x70997970C51812dc3A010C7d01b50e0d17dc79C8";
const ME: Owner = { coordinatorId: "me", incarnation: "0x01" };
const OTHER: Owner = { coordinatorId: "other", incarnation: "0x02" };
const hex = (n: number): Hex => `0x${n.toString(16).padStart(32, "0")}`;

const queued: Task = {
  id: hex(1),
  version: 1,
  requester: WALLET,
  kind: "echo",
  spec: Uint8Array.of(1, 2, 3),
  state: "queued",
  createdAt: 100,
  deadline: 1_000,
  notBefore: 100,
  attempts: 0,
  assignments: {},
};

function receiptOf(assignmentId: Hex): Receipt {
  return {
    receiptId: assignmentId,
    taskId: queued.id,
    nodeId: hex(7),
    provider: WALLET,
    requester: WALLET,
    kind: "echo",
    assurance: "proven",
    specDigest: hex(2),
    spec: "0x010203",
    resultDigest: hex(3),
    units: 1n,
    acceptedAt: 300,
    proof: { signature: hex(4), index: 0, size: 1, path: [] },
  };
}

const give = (task: Task, assignmentId: number, node = 7) =>
  assign(task, { id: hex(assignmentId), nodeId: hex(node), wallet: WALLET, assignedAt: 200 }, ME);
const end = (task: Task, assignmentId: number, state: Ending["state"], maxAttempts = 3, owner = ME) =>
  endAssignment(task, hex(assignmentId), { state, reason: "because", at: 250 }, { maxAttempts, notBefore: 400 }, owner);

const running = give(queued, 10);
const cancelling = cancel(running, 260);
const STATES: Record<TaskState, Task> = {
  queued,
  running,
  cancelling,
  verified: accept(running, receiptOf(hex(10))),
  failed: expire(running, 1_001, ME),
  cancelled: cancel(queued, 260),
};

const ACTIONS: Record<string, (task: Task) => Task> = {
  assign: (task) => give(task, 11),
  accept: (task) => accept(task, receiptOf(hex(10))),
  "task error": (task) => end(task, 10, "failed"),
  "last task error": (task) => end(task, 10, "failed", 1),
  rejected: (task) => end(task, 10, "rejected"),
  declined: (task) => end(task, 10, "declined"),
  lost: (task) => end(task, 10, "lost", 1),
  cancel: (task) => cancel(task, 260),
  expire: (task) => expire(task, 1_001, ME),
  "take over": (task) => takeOver(task, OTHER),
};

/** From each state, what an action makes of it; an upper-case word is the code of the refusal. */
const TABLE: Record<TaskState, Record<string, TaskState | "CONFLICT" | "NOT_CANCELLABLE">> = {
  queued: {
    assign: "running",
    accept: "CONFLICT",
    "task error": "CONFLICT",
    "last task error": "CONFLICT",
    rejected: "CONFLICT",
    declined: "CONFLICT",
    lost: "CONFLICT",
    cancel: "cancelled",
    expire: "failed",
    "take over": "CONFLICT",
  },
  running: {
    assign: "CONFLICT",
    accept: "verified",
    "task error": "queued",
    "last task error": "failed",
    rejected: "queued",
    declined: "queued",
    lost: "queued",
    cancel: "cancelling",
    expire: "failed",
    "take over": "running",
  },
  cancelling: {
    assign: "CONFLICT",
    accept: "verified",
    "task error": "cancelled",
    "last task error": "cancelled",
    rejected: "cancelled",
    declined: "cancelled",
    lost: "cancelled",
    cancel: "NOT_CANCELLABLE",
    expire: "failed",
    "take over": "cancelling",
  },
  verified: refusing(),
  failed: refusing(),
  cancelled: refusing(),
};

function refusing(): Record<string, "CONFLICT" | "NOT_CANCELLABLE"> {
  const names = Object.keys(ACTIONS);
  return Object.fromEntries(names.map((name) => [name, name === "cancel" ? "NOT_CANCELLABLE" : "CONFLICT"]));
}

const cases = Object.entries(TABLE).flatMap(([state, row]) =>
  Object.entries(row).map(([action, outcome]) => [state as TaskState, action, outcome] as const),
);

describe("a task's states", () => {
  test("the table has every action from every state", () => {
    expect(cases).toHaveLength(Object.keys(STATES).length * Object.keys(ACTIONS).length);
  });

  test.each(cases)("%s, %s: %s", (state, action, outcome) => {
    const before = STATES[state];
    const frozen = structuredClone(before);
    const act = () => ACTIONS[action]!(before);
    if (outcome === "CONFLICT" || outcome === "NOT_CANCELLABLE") {
      expect(act).toThrow(expect.objectContaining({ code: outcome }));
    } else {
      expect(act()).toMatchObject({ state: outcome, version: before.version + 1 });
    }
    expect(before).toEqual(frozen);
  });

  test.each(Object.entries(STATES))("%s is final if no transition leads out of it", (state, task) => {
    const leads = Object.values(TABLE[state as TaskState]).some((outcome) => outcome in STATES);
    expect(isFinal(task)).toBe(!leads);
  });
});

describe("an assignment", () => {
  test("is live from its assignment to its end", () => {
    expect(liveAssignment(queued)).toBeUndefined();
    expect(liveAssignment(running)).toMatchObject({ id: hex(10), nodeId: hex(7), state: "live", assignedAt: 200 });
    expect(liveAssignment(cancelling)?.id).toBe(hex(10));
    expect(liveAssignment(end(running, 10, "lost"))).toBeUndefined();
  });

  test("keeps its end and the reason, and the task waits for its retry", () => {
    const task = end(running, 10, "rejected");
    expect(task).toMatchObject({ notBefore: 400, attempts: 0 });
    expect(task.assignments[hex(10)]).toMatchObject({ state: "rejected", reason: "because", endedAt: 250 });
  });

  test("carries its receipt once accepted", () => {
    const receipt = receiptOf(hex(10));
    expect(accept(running, receipt).assignments[hex(10)]).toMatchObject({
      state: "accepted",
      endedAt: 300,
      receipt,
    });
  });

  test("that has ended, or belongs to another task, cannot bring a result", () => {
    const retried = give(end(running, 10, "lost"), 11);
    expect(() => accept(retried, receiptOf(hex(10)))).toThrow(ComputeError);
    expect(() => accept(retried, receiptOf(hex(12)))).toThrow(ComputeError);
    expect(accept(retried, receiptOf(hex(11))).state).toBe("verified");
  });

  test("ends as cancelled when the deadline passes", () => {
    const task = expire(running, 1_001, ME);
    expect(task.error).toMatchObject({ code: "DEADLINE_PASSED" });
    expect(task.assignments[hex(10)]).toMatchObject({ state: "cancelled", reason: "DEADLINE_PASSED", endedAt: 1_001 });
  });
});

describe("an owner", () => {
  const taken = takeOver(running, OTHER);

  test("is set exactly while an assignment is live", () => {
    expect(running.owner).toEqual(ME);
    expect(cancelling.owner).toEqual(ME);
    expect(taken).toMatchObject({ state: "running", owner: OTHER, version: running.version + 1 });
    for (const state of ["queued", "verified", "failed", "cancelled"] as const) {
      expect(STATES[state]).not.toHaveProperty("owner");
    }
    expect(end(running, 10, "lost")).not.toHaveProperty("owner");
  });

  test.each<[string, () => Task]>([
    ["ends", () => end(taken, 10, "lost")],
    ["expires", () => expire(taken, 1_001, ME)],
    [
      "ends, under an earlier run of the same coordinator,",
      () => end(running, 10, "lost", 3, { ...ME, incarnation: "0x03" }),
    ],
  ])("that lost the task no longer %s it", (_, act) => {
    expect(act).toThrow(expect.objectContaining({ code: "CONFLICT" }));
  });

  test("that took the task over may end it", () => {
    expect(end(taken, 10, "lost", 3, OTHER).state).toBe("queued");
    expect(expire(taken, 1_001, OTHER).state).toBe("failed");
  });

  test("does not matter for a valid result, for a queued task's deadline, or for a cancellation", () => {
    expect(accept(taken, receiptOf(hex(10))).state).toBe("verified");
    expect(expire(queued, 1_001, OTHER).state).toBe("failed");
    expect(cancel(taken, 260).owner).toEqual(OTHER);
  });
});

test("a valid result that crosses a cancellation leaves no trace of the cancellation", () => {
  expect(cancelling.error).toMatchObject({ code: "CANCELLED" });
  expect(accept(cancelling, receiptOf(hex(10)))).not.toHaveProperty("error");
});

test("a final task has the time of its end", () => {
  expect(STATES.verified.endedAt).toBe(300);
  expect(STATES.failed.endedAt).toBe(1_001);
  expect(STATES.cancelled.endedAt).toBe(260);
  expect(end(running, 10, "failed", 1).endedAt).toBe(250);
  expect(cancelling).not.toHaveProperty("endedAt");
  expect(running).not.toHaveProperty("endedAt");
});

test("counts only task errors of different nodes as attempts", () => {
  const onNode = (task: Task, n: number, node: number, state: Ending["state"]) => end(give(task, n, node), n, state);
  let task = onNode(queued, 20, 1, "failed");
  task = onNode(task, 21, 1, "failed");
  task = onNode(task, 22, 2, "lost");
  task = onNode(task, 23, 3, "rejected");
  task = onNode(task, 24, 4, "declined");
  expect(task).toMatchObject({ state: "queued", attempts: 1 });
  task = onNode(task, 25, 2, "failed");
  expect(task).toMatchObject({ state: "queued", attempts: 2 });
  task = onNode(task, 26, 3, "failed");
  expect(task).toMatchObject({ state: "failed", attempts: 3, error: { code: "TOO_MANY_ATTEMPTS" } });
  expect(Object.keys(task.assignments)).toHaveLength(7);
});

describe("any walk", () => {
  const step = fc.record({
    action: fc.constantFrom("assign", "accept", "end", "cancel", "expire", "take over"),
    node: fc.nat(3),
    state: fc.constantFrom<Ending["state"]>("rejected", "failed", "declined", "lost", "cancelled"),
    /** Which assignment is meant: mostly the live one, else any number. */
    stray: fc.option(fc.nat(12), { nil: undefined }),
  });
  type Step = typeof step extends fc.Arbitrary<infer T> ? T : never;

  function take(task: Task, { action, node, state, stray }: Step): Task {
    const count = Object.keys(task.assignments).length;
    const meant = stray ?? count - 1;
    if (action === "assign") return give(task, count, node);
    if (action === "accept") return accept(task, receiptOf(hex(meant)));
    if (action === "end") return end(task, meant, state);
    if (action === "cancel") return cancel(task, 260);
    if (action === "take over") return takeOver(task, ME);
    return expire(task, 1_001, ME);
  }

  const reachable: Record<TaskState, readonly TaskState[]> = {
    queued: ["running", "cancelled", "failed"],
    running: ["running", "queued", "cancelling", "verified", "failed"],
    cancelling: ["cancelling", "cancelled", "verified", "failed"],
    verified: [],
    failed: [],
    cancelled: [],
  };

  test("follows the table, and its counts are right", () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 40, size: "max" }), (steps) => {
        let task = queued;
        for (const next of steps) {
          const before = task;
          try {
            task = take(task, next);
          } catch (error) {
            expect(error).toBeInstanceOf(ComputeError);
            continue;
          }
          expect(reachable[before.state]).toContain(task.state);
          expect(task.version).toBe(before.version + 1);
          const assignments = Object.values(task.assignments);
          const live = assignments.filter(({ state }) => state === "live");
          expect(live).toHaveLength(task.state === "running" || task.state === "cancelling" ? 1 : 0);
          const receipts = assignments.filter(({ receipt }) => receipt !== undefined);
          expect(receipts).toHaveLength(task.state === "verified" ? 1 : 0);
          expect(receipts).toEqual(assignments.filter(({ state }) => state === "accepted"));
          const failedOn = new Set(assignments.filter(({ state }) => state === "failed").map(({ nodeId }) => nodeId));
          expect(task.attempts).toBe(failedOn.size);
          expect(task.owner).toEqual(live.length === 1 ? ME : undefined);
          expect(task.endedAt !== undefined).toBe(isFinal(task));
          expect(task.error !== undefined).toBe(["cancelling", "cancelled", "failed"].includes(task.state));
          expect({ ...task, ...changing(before) }).toEqual(before);
          expect(Object.keys(task.assignments)).toEqual(expect.arrayContaining(Object.keys(before.assignments)));
        }
      }),
      { numRuns: 1_000 },
    );
  });

  /** What a step may change; all else of a task stays. */
  function changing({ version, state, attempts, notBefore, assignments, error, owner, endedAt }: Task) {
    return { version, state, attempts, notBefore, assignments, error, owner, endedAt };
  }
});
