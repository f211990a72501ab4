import { randomBytes } from "node:crypto";
import type { Hex } from "@proof-of-compute/proto";
import { type RestHarness, startRest } from "@proof-of-compute/tests/support/rest";
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { MAX_TASKS, PEER_PATHS, peerToken } from "../../../net/peer-messages.ts";
import type { Nudge } from "../../../ports/peers.ts";
import type { RestComponents } from "../components.ts";

const id = (n: number): Hex => `0x${n.toString(16).padStart(32, "0")}`;
const nudges: Nudge[] = [];
let rest: RestHarness;
beforeAll(async () => {
  const scheduler: Partial<RestComponents["scheduler"]> = {
    nudged: (nudge) => void nudges.push(nudge),
    progress: (taskId) => (taskId === id(1) ? 0.5 : undefined),
  };
  rest = await startRest({ components: { scheduler: scheduler as never }, init: { limits: { requestsPerMinute: 5 } } });
});
afterAll(() => rest.stop());
beforeEach(() => void nudges.splice(0));

const token = () => ({ authorization: `Bearer ${peerToken(rest.peerSecret)}` });

function say(url: string, payload: object, headers: Record<string, string> = token(), remoteAddress = "192.0.2.1") {
  return rest.app.inject({ method: "POST", url, payload, headers, remoteAddress });
}

test("a peer's nudge reaches the scheduler", async () => {
  for (const nudge of [{ queue: true }, { tasks: [id(1), id(2)] }, { queue: true, tasks: [] }, {}]) {
    const response = await say(PEER_PATHS.nudge, nudge);
    expect([response.statusCode, response.body, nudges.pop()]).toEqual([204, "", nudge]);
  }
});

test("ignores unknown members of a newer peer's nudge", async () => {
  expect((await say(PEER_PATHS.nudge, { queue: true, mood: "fine" })).statusCode).toBe(204);
  expect(nudges).toEqual([{ queue: true }]);
});

test("tells a peer the progress of tasks that run here", async () => {
  const response = await say(PEER_PATHS.progress, { taskIds: [id(1), id(2)] });
  expect([response.statusCode, response.json()]).toEqual([200, { progress: { [id(1)]: 0.5 } }]);
});

test.each<[string, object]>([
  [PEER_PATHS.nudge, { tasks: ["0x12"] }],
  [PEER_PATHS.nudge, { queue: false }],
  [PEER_PATHS.nudge, { tasks: Array.from({ length: MAX_TASKS + 1 }, (_, n) => id(n)) }],
  [PEER_PATHS.progress, { taskIds: Array.from({ length: MAX_TASKS + 1 }, (_, n) => id(n)) }],
  [PEER_PATHS.progress, {}],
])("%s refuses a body that is out of bounds", async (url, body) => {
  expect((await say(url, body)).json()).toMatchObject({ status: 400, code: "INVALID_REQUEST" });
  expect(nudges).toEqual([]);
});

test("a message with the most tasks fits the body limit", async () => {
  const tasks = Array.from({ length: MAX_TASKS }, (_, n) => id(n));
  expect((await say(PEER_PATHS.nudge, { tasks })).statusCode).toBe(204);
});

test.each<[string, () => Record<string, string>]>([
  ["no token", () => ({})],
  ["another network's token", () => ({ authorization: `Bearer ${peerToken(randomBytes(32))}` })],
  ["a part of the token", () => ({ authorization: token().authorization.slice(0, -1) })],
  ["another scheme", () => ({ authorization: token().authorization.replace("Bearer", "Basic") })],
])("refuses a client with %s before the body is read", async (what, headers) => {
  for (const url of Object.values(PEER_PATHS)) {
    const response = await say(url, { tasks: "nonsense" }, headers(), `192.0.2.2${what.length}`);
    expect(response.json()).toMatchObject({ status: 401, code: "UNAUTHENTICATED" });
  }
  expect(nudges).toEqual([]);
});

test("a session does not count as a token", async () => {
  const { cookie } = await rest.signIn();
  expect((await say(PEER_PATHS.nudge, {}, { cookie }, "192.0.2.3")).statusCode).toBe(401);
});

test("limits guesses, and not peers", async () => {
  const statuses = [];
  for (let i = 0; i < 6; i++) statuses.push((await say(PEER_PATHS.nudge, {}, {}, "192.0.2.4")).statusCode);
  expect(statuses).toEqual([401, 401, 401, 401, 401, 429]);
  for (let i = 0; i < 6; i++) {
    expect((await say(PEER_PATHS.nudge, {}, token(), "192.0.2.4")).statusCode).toBe(204);
  }
});

test("are no part of the API, and exempt from its rule for other sites", async () => {
  expect(rest.app.swagger().paths).not.toHaveProperty(PEER_PATHS.nudge);
  expect((await say(PEER_PATHS.nudge, {}, { ...token(), origin: "https://elsewhere.example" })).statusCode).toBe(204);
  const { statusCode } = await rest.app.inject({ url: PEER_PATHS.nudge, headers: token() });
  expect(statusCode).toBe(404);
});

test("do not exist without a secret", async () => {
  const alone = await startRest({ init: { peerSecret: undefined } });
  try {
    for (const url of Object.values(PEER_PATHS)) {
      for (const headers of [{}, token(), { authorization: "Bearer " }]) {
        const response = await alone.app.inject({ method: "POST", url, payload: {}, headers });
        expect(response.json()).toMatchObject({ status: 404, code: "NOT_FOUND" });
      }
    }
  } finally {
    await alone.stop();
  }
});
