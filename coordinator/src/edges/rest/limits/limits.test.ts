import { echoRequest } from "@proof-of-compute/tests/support/echo/coordinator";
import { ORIGIN, type RestChange, type RestHarness, startRest } from "@proof-of-compute/tests/support/rest";
import { expect, onTestFinished, test } from "vitest";
import { PEER_PATHS } from "../../../net/peer-messages.ts";
import type { RestLimits } from "./limits.ts";

async function start(limits: Partial<RestLimits> = {}, init: RestChange["init"] = {}): Promise<RestHarness> {
  const rest = await startRest({ init: { ...init, limits } });
  onTestFinished(() => rest.stop());
  return rest;
}

/** The statuses of requests one after the other, from one address. */
async function statuses(rest: RestHarness, urls: readonly string[], remoteAddress = "192.0.2.1"): Promise<number[]> {
  const seen: number[] = [];
  for (const url of urls) seen.push((await rest.app.inject({ url, remoteAddress })).statusCode);
  return seen;
}

test("refuses too many requests of one address until the minute is over", async () => {
  const rest = await start({ requestsPerMinute: 3, signInsPerMinute: 2 });
  for (let i = 0; i < 3; i++) expect((await rest.get("/api/config")).statusCode).toBe(200);
  const refused = await rest.get("/api/config");
  expect(refused.json()).toMatchObject({ status: 429, code: "RATE_LIMITED" });
  expect(Number(refused.headers["retry-after"])).toBeGreaterThan(0);
  expect(await statuses(rest, ["/api/config"], "192.0.2.7")).toEqual([200]);
  expect((await rest.get("/healthz")).statusCode).toBe(200);
  for (let i = 0; i < 2; i++) expect((await rest.get("/api/auth/nonce")).statusCode).toBe(200);
  expect((await rest.get("/api/auth/nonce")).statusCode).toBe(429);
});

test("counts a path in every encoding", async () => {
  const rest = await start({ requestsPerMinute: 2 });
  expect(await statuses(rest, ["/%61pi/config", "/ap%69/config", "/%61%70%69/config"])).toEqual([200, 200, 429]);
  const guess = () => rest.app.inject({ method: "POST", url: PEER_PATHS.nudge.replace("i", "%69"), payload: {} });
  expect((await guess()).statusCode).toBe(401);
  expect((await guess()).statusCode).toBe(401);
  expect((await guess()).statusCode).toBe(429);
});

test("counts requests for unknown paths, but not for files of the hub", async () => {
  const rest = await start({ requestsPerMinute: 2 });
  expect(await statuses(rest, ["/api/a", "/api/b", "/api/c"])).toEqual([404, 404, 429]);
  expect(await statuses(rest, ["/%61pi/a", "/nothing", "/c.js"], "192.0.2.2")).toEqual([503, 503, 429]);
  expect(await statuses(rest, ["/healthz", "/healthz", "/healthz", "/readyz"], "192.0.2.3")).not.toContain(429);
});

test.each<[string, number | readonly string[], string, readonly number[]]>([
  ["no proxy", 0, "192.0.2.1", [200, 429]],
  ["one proxy", 1, "192.0.2.1", [200, 429]],
  ["a second one, which is not ours", 1, "192.0.2.1, 198.51.100.1", [200, 429]],
  ["two proxies", 2, "192.0.2.1, 10.0.0.2", [200, 429]],
  ["proxies by their addresses", ["10.0.0.0/8"], "192.0.2.1, 10.0.0.2", [200, 429]],
])("behind %s a client cannot choose the address that is counted", async (_name, trustProxy, forwarded, expected) => {
  const rest = await start({ requestsPerMinute: 1 }, { trustProxy });
  const seen: number[] = [];
  for (const claimed of ["203.0.113.1", "203.0.113.2"]) {
    const headers = { "x-forwarded-for": `${claimed}, ${forwarded}` };
    seen.push((await rest.app.inject({ url: "/api/config", headers, remoteAddress: "10.0.0.1" })).statusCode);
  }
  expect(seen).toEqual(expected);
});

test.each<[string, number | readonly string[], string, readonly number[]]>([
  ["one proxy", 1, "10.0.0.1", [200, 200]],
  ["a proxy by its address", ["10.0.0.1"], "10.0.0.1", [200, 200]],
  ["a proxy by its address, going past it", ["10.0.0.1"], "10.0.0.9", [200, 429]],
])("behind %s every client is counted separately", async (_name, trustProxy, remoteAddress, expected) => {
  const rest = await start({ requestsPerMinute: 1 }, { trustProxy });
  const seen: number[] = [];
  for (const client of ["192.0.2.1", "192.0.2.2"]) {
    const headers = { "x-forwarded-for": client };
    seen.push((await rest.app.inject({ url: "/api/config", headers, remoteAddress })).statusCode);
  }
  expect(seen).toEqual(expected);
});

test("refuses too many tasks of one wallet, and not those of another", async () => {
  const rest = await start({ dispatchesPerMinute: 2 });
  const [eager, other] = [await rest.signIn(), await rest.signIn()];
  const seen = [];
  for (let i = 0; i < 2; i++) seen.push((await rest.dispatch(eager.cookie)).statusCode);
  const refused = await rest.dispatch(eager.cookie);
  expect([...seen, refused.json()]).toMatchObject([202, 202, { status: 429, code: "RATE_LIMITED" }]);
  expect(Number(refused.headers["retry-after"])).toBeGreaterThan(0);
  expect((await rest.dispatch(other.cookie)).statusCode).toBe(202);
});

test("counts the tasks of one address across wallets", async () => {
  const rest = await start({ requestsPerMinute: 3, dispatchesPerMinute: 2 });
  const wallets = [await rest.signIn(), await rest.signIn(), await rest.signIn(), await rest.signIn()];
  const dispatch = async (cookie: string, remoteAddress: string) => {
    const headers = { cookie, origin: ORIGIN };
    const url = "/api/node/dispatch-task";
    const payload = echoRequest();
    return (await rest.app.inject({ method: "POST", url, headers, payload, remoteAddress })).statusCode;
  };
  const seen: number[] = [];
  for (const { cookie } of wallets) seen.push(await dispatch(cookie, "192.0.2.1"));
  expect(seen).toEqual([202, 202, 202, 429]);
  expect(await dispatch(wallets[3]!.cookie, "192.0.2.2")).toBe(202);
});

test("no answer of the API may be cached, and each has an id", async () => {
  const rest = await start();
  const responses = [await rest.get("/api/config"), await rest.get("/%61pi/config")];
  for (const { headers } of responses) expect(headers["cache-control"]).toBe("no-store");
  expect(responses[0]!.headers["x-request-id"]).not.toBe(responses[1]!.headers["x-request-id"]);
});
