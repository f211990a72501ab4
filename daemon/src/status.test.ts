import { WALLET } from "@proof-of-compute/tests/support/daemon/daemon";
import { describe, expect, test } from "vitest";
import type { DaemonSnapshot } from "./daemon.ts";
import type { Connection } from "./session/connector.ts";
import { render } from "./status.ts";

const node = { nodeId: `0x${"ab".repeat(32)}`, wallet: WALLET };
const online: Connection = { phase: "online", coordinator: "host:1", welcome: { coordinatorId: "c1" } as never };
const idle: DaemonSnapshot = {
  connection: online,
  slots: 2,
  tasks: [],
  counts: { accepted: 0, rejected: 0, late: 0, nodeFailures: 0, taskFailures: 0, units: 0n },
  unacknowledged: 0,
  refusal: undefined,
  draining: false,
};
const unread = { units: undefined, chain: undefined, problem: undefined };
const view = (snapshot: Partial<DaemonSnapshot>, recorded: Parameters<typeof render>[2] = unread) =>
  render(node, { ...idle, ...snapshot }, recorded, 10_000, (_, text) => text);

describe("the live view", () => {
  test("shows node and wallet, in both notations", () => {
    expect(view({})).toContain(node.nodeId);
    expect(view({})).toContain(`${WALLET}  xdc${WALLET.slice(2)}`);
  });

  test.each<[Partial<DaemonSnapshot>, RegExp]>([
    [{}, /● online +host:1 c1/],
    [{}, /idle: no task waits for this node/],
    [{ connection: { phase: "connecting", coordinator: "host:1" } }, /● connecting host:1/],
    [{ connection: { phase: "waiting", why: "cannot reach it" } }, /● offline +cannot reach it; trying again/],
    [{ connection: { phase: "waiting", why: "cannot reach it" } }, /idle: no coordinator/],
    [{ draining: true }, /● draining/],
    [{ refusal: "the outbox is full" }, /declined the last task: the outbox is full/],
    [{ unacknowledged: 3 }, /3 awaiting a verdict/],
    [
      { counts: { accepted: 1234, rejected: 1, late: 2, nodeFailures: 3, taskFailures: 4, units: 5678n } },
      /1,234 accepted, 1 rejected, 2 late, 4 faulty tasks, 3 failed on this node; 5,678 units/,
    ],
  ])("shows state and reason %#", (snapshot, text) => {
    expect(view(snapshot)).toMatch(text);
  });

  test("draws a bar for each of the first tasks, and one line for the others", () => {
    const task = {
      taskId: "0x00",
      title: "echo of 5 bytes",
      maxUnits: 16384n,
      unitsAreExact: true,
      fraction: 0.5,
      startedAt: 7_000,
    } as const;
    expect(view({ tasks: [task] })).toContain("██████████░░░░░░░░░░  50 %  echo of 5 bytes  16,384 units  3 s");
    expect(view({ tasks: [{ ...task, unitsAreExact: false }] })).toContain("  up to 16,384 units  ");
    const many = view({ tasks: Array.from({ length: 9 }, () => task), slots: 16 });
    expect(many).toContain("9 of 16 slots busy");
    expect(many).toContain("and 3 more");
  });

  test.each([
    [unread, /waiting for a coordinator to name its chain/],
    [{ units: undefined, chain: "XDC", problem: undefined }, /XDC {2}reading/],
    [{ units: 12345n, chain: "XDC", problem: undefined }, /12,345 units {2}XDC$/],
    [{ units: 12345n, chain: "XDC", problem: "cannot read" }, /12,345 units {2}XDC {2}cannot read$/],
    [{ units: undefined, chain: undefined, problem: "records on no chain" }, /records on no chain$/],
  ])("shows the recorded units, or why they are unknown: %#", (recorded, text) => {
    expect(view({}, recorded)).toMatch(text);
  });
});
