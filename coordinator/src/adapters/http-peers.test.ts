import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import type { Hex } from "@proof-of-compute/proto";
import { pino } from "pino";
import { afterEach, beforeEach, expect, test } from "vitest";
import { MAX_TASKS } from "../net/peer-messages.ts";
import { HttpPeers } from "./http-peers.ts";

const secret = randomBytes(32);
/** For conditions that come true in time on any machine. */
const SOON = { interval: 5, timeout: 10_000 };
const id = (n: number): Hex => `0x${n.toString(16).padStart(32, "0")}`;
let server: Server;
let address: string;
let peers: HttpPeers;
let received: { path: string; body: unknown; request: IncomingMessage }[];
/** Answers a request; may be slow about it. */
let answer: (response: ServerResponse, body: { taskIds?: Hex[] }) => void;

beforeEach(async () => {
  received = [];
  answer = (response) => response.writeHead(204).end();
  server = createServer(async (request, response) => {
    const chunks = await request.toArray();
    const body = JSON.parse(Buffer.concat(chunks).toString());
    received.push({ path: request.url!, body, request });
    answer(response, body);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  address = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  peers = new HttpPeers({ logger: pino({ level: "silent" }) }, { secret });
});
afterEach(async () => {
  peers.stop();
  server.closeAllConnections();
  server.close();
  await once(server, "close");
});

const bodies = () => received.map(({ body }) => body);

test("sends a nudge at once, with the token", async () => {
  peers.nudge(address, { queue: true, tasks: [id(1)] });
  await expect.poll(bodies, SOON).toEqual([{ queue: true, tasks: [id(1)] }]);
  expect(received[0]).toMatchObject({ path: "/internal/nudge" });
  expect(received[0]!.request.headers.authorization).toBe(`Bearer ${secret.toString("hex")}`);
});

test("sends nudges that come during a request together after it", async () => {
  const held: ServerResponse[] = [];
  answer = (response) => void held.push(response);
  peers.nudge(address, { tasks: [id(1)] });
  await expect.poll(() => held.length, SOON).toBe(1);
  peers.nudge(address, { tasks: [id(2), id(3)] });
  peers.nudge(address, { tasks: [id(3)] });
  peers.nudge(address, { queue: true });
  answer = (response) => response.writeHead(204).end();
  held[0]!.writeHead(204).end();
  await expect.poll(bodies, SOON).toEqual([{ tasks: [id(1)] }, { queue: true, tasks: [id(2), id(3)] }]);
});

test("reuses connections", async () => {
  answer = (response) => response.writeHead(200).end('{"progress":{}}');
  for (let n = 0; n < 10; n++) await peers.progress(address, [id(n)]);
  const sockets = new Set(received.map(({ request }) => request.socket));
  expect([received.length, sockets.size < 5]).toEqual([10, true]);
});

test("bounds the backlog for a slow peer", async () => {
  const held: ServerResponse[] = [];
  answer = (response) => void held.push(response);
  peers.nudge(address, { queue: true });
  await expect.poll(() => held.length, SOON).toBe(1);
  for (let n = 0; n < 2 * MAX_TASKS; n++) peers.nudge(address, { tasks: [id(n)] });
  answer = (response) => response.writeHead(204).end();
  held[0]!.writeHead(204).end();
  await expect.poll(() => received.length, SOON).toBe(2);
  expect((received[1]!.body as { tasks: Hex[] }).tasks).toHaveLength(MAX_TASKS);
});

test("asks for the progress of many tasks in parts, and ignores tasks that it did not ask for", async () => {
  answer = (response, { taskIds = [] }) => {
    const progress = Object.fromEntries([...taskIds.filter((_, n) => n % 2 === 0), id(9_999)].map((one) => [one, 0.5]));
    response.writeHead(200, { "content-type": "application/json" }).end(JSON.stringify({ progress }));
  };
  const ids = Array.from({ length: MAX_TASKS + 1 }, (_, n) => id(n));
  const progress = await peers.progress(address, ids);
  expect(received.map(({ path }) => path)).toEqual(["/internal/progress", "/internal/progress"]);
  expect([...progress.keys()]).toEqual(ids.filter((_, n) => n % 2 === 0));
  expect(progress.get(id(0))).toBe(0.5);
});

test.each<[string, (response: ServerResponse) => void]>([
  ["refuses", (response) => response.writeHead(401).end("{}")],
  ["fails", (response) => response.writeHead(500).end("not JSON")],
  ["hangs up", (response) => response.destroy()],
  ["sends it elsewhere", (response) => response.writeHead(307, { location: `${address}/elsewhere` }).end()],
  ["answers nothing", (response) => response.writeHead(200).end()],
  ["answers with something else", (response) => response.writeHead(200).end('{"progress":[]}')],
  ["answers with what is no share", (response) => response.writeHead(200).end(`{"progress":{"${id(1)}":2}}`)],
  ["never answers", () => {}],
])("a peer that %s has told nothing", async (_name, how) => {
  answer = how;
  expect(await peers.progress(address, [id(1)])).toEqual(new Map());
  expect(received.map(({ path }) => path)).toEqual(["/internal/progress"]);
});

test("an address without a peer does no harm, and is tried again", async () => {
  server.closeAllConnections();
  server.close();
  await once(server, "close");
  expect(await peers.progress(address, [id(1)])).toEqual(new Map());
  peers.nudge(address, { queue: true });
  peers.nudge("not an address", { queue: true });
  server.listen(Number(new URL(address).port), "127.0.0.1");
  await once(server, "listening");
  await expect
    .poll(() => {
      peers.nudge(address, { tasks: [id(2)] });
      return bodies();
    }, SOON)
    .toContainEqual({ tasks: [id(2)] });
});

test("stop aborts the requests under way, and sends nothing afterwards", async () => {
  answer = () => {};
  const asking = peers.progress(address, [id(1)]);
  await expect.poll(() => received.length, SOON).toBe(1);
  peers.stop();
  expect(await asking).toEqual(new Map());
  peers.nudge(address, { queue: true });
  expect(await peers.progress(address, [id(1)])).toEqual(new Map());
  expect(received).toHaveLength(1);
});
