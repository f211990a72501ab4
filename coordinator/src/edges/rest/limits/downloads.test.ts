import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { get, type IncomingMessage } from "node:http";
import { connect } from "node:net";
import type { Hex } from "@proof-of-compute/proto";
import { KindRegistry } from "@proof-of-compute/proto/kinds";
import { echo } from "@proof-of-compute/tests/support/echo/coordinator";
import { type RestHarness, startRest } from "@proof-of-compute/tests/support/rest";
import { expect, onTestFinished, test } from "vitest";
import type { CoordinatorKind } from "../../../kinds/index.ts";
import type { RestLimits } from "./limits.ts";

/** More than the socket buffers of a reader that does not read can hold. */
const RESULT_BYTES = 2 ** 24;
const { protocol } = echo;
const bounds = { maxOutputBytes: RESULT_BYTES, maxUnits: 1n, unitsAreExact: true };
/** Echo, whose results may have any size up to that. */
const LARGE_ECHO = { ...echo, protocol: { ...protocol, bounds: () => bounds, units: () => 1n } };

async function start(limits: Partial<RestLimits>): Promise<RestHarness> {
  const rest = await startRest({
    init: { limits, trustProxy: 1 },
    kinds: new KindRegistry<CoordinatorKind>([LARGE_ECHO]),
  });
  onTestFinished(() => rest.stop());
  return rest;
}

async function makeReceipt(rest: RestHarness, bytes = 1) {
  const { cookie } = await rest.signIn();
  const node = await rest.joinNode();
  const { id } = (await rest.dispatch(cookie)).json() as { id: Hex };
  const receipt = await rest.complete(node, id, randomBytes(bytes));
  return { ...receipt, cookie };
}

/** Asks over a socket and reads nothing but the head of the answer. */
async function open(port: number, path: string, headers: Record<string, string> = {}): Promise<IncomingMessage> {
  const [response] = await once(get({ port, path, headers, agent: false }), "response");
  onTestFinished(() => void (response as IncomingMessage).destroy());
  return response as IncomingMessage;
}

const connections = (rest: RestHarness) =>
  new Promise<number>((resolve, reject) =>
    rest.app.server.getConnections((error, count) => (error ? reject(error) : resolve(count))),
  );

test("disconnects a reader that does not read", async () => {
  const rest = await start({ connectionTimeoutMs: 100 });
  const { receiptId } = await makeReceipt(rest, RESULT_BYTES);
  const response = await open(await rest.listen(), `/api/receipts/${receiptId}/result`);
  expect([response.statusCode, await connections(rest)]).toEqual([200, 1]);
  await expect.poll(() => connections(rest), { timeout: 10_000 }).toBe(0);
});

test("bounds the results being sent, in total and for one address, until they have been read", async () => {
  const rest = await start({ resultBytes: 3 * RESULT_BYTES, resultBytesPerAddress: 2 * RESULT_BYTES });
  const { receiptId, taskId, cookie } = await makeReceipt(rest, RESULT_BYTES);
  const port = await rest.listen();
  const url = `/api/receipts/${receiptId}/result`;
  const from = (client: string, path = url) => open(port, path, { "x-forwarded-for": client, cookie });
  const first = await from("192.0.2.1");
  await from("192.0.2.1", `/api/tasks/${taskId}/result`);
  const refused = await from("192.0.2.1");
  expect([refused.statusCode, Number(refused.headers["retry-after"])]).toEqual([429, expect.any(Number)]);
  expect((await from("192.0.2.2")).statusCode).toBe(200);
  expect((await from("192.0.2.3")).statusCode).toBe(429);
  const known = { "if-none-match": String(first.headers.etag), "x-forwarded-for": "192.0.2.3" };
  expect((await open(port, url, known)).statusCode).toBe(304);
  first.destroy();
  await expect
    .poll(async () => {
      const answer = await from("192.0.2.3");
      if (answer.statusCode !== 200) return 0;
      let length = 0;
      for await (const chunk of answer) length += chunk.length;
      return length;
    })
    .toBe(RESULT_BYTES);
  expect((await from("192.0.2.4")).statusCode).toBe(200);
});

test("answers that wait behind another on one connection release their shares when it closes", async () => {
  const rest = await start({ resultBytes: RESULT_BYTES, streamsPerWallet: 1 });
  const { receiptId, provider, cookie } = await makeReceipt(rest, RESULT_BYTES);
  const { id } = (await rest.dispatch(cookie)).json() as { id: Hex };
  const [result, events] = [`/api/receipts/${receiptId}/result`, `/api/tasks/${id}/events`];
  const port = await rest.listen();
  const receipts = rest.store.receipts.bind(rest.store);
  // An export that has begun, and goes on for ever.
  rest.store.receipts = async ({ cursor: _, ...query }) => ({ ...(await receipts(query)), cursor: "more" });
  const socket = connect(port, "127.0.0.1");
  const head = `HTTP/1.1\r\nhost: 127.0.0.1\r\ncookie: ${cookie}\r\n\r\n`;
  socket.write(
    [`/api/receipts/export?provider=${provider}`, result, events].map((path) => `GET ${path} ${head}`).join(""),
  );
  await expect.poll(() => rest.events.size).toBe(1);
  const statuses = () =>
    Promise.all(
      [result, events].map(async (path) => {
        const answer = await open(port, path, { cookie });
        answer.destroy();
        return answer.statusCode;
      }),
    );
  expect(await statuses()).toEqual([429, 429]);
  socket.destroy();
  await expect.poll(statuses).toEqual([200, 200]);
});

test("bounds the exports and batches' receipts being written, in total and for one address", async () => {
  const rest = await start({ exports: 3, exportsPerAddress: 2 });
  const { provider } = await makeReceipt(rest);
  await rest.closeBatch();
  const receipts = rest.store.receipts.bind(rest.store);
  const { promise, resolve } = Promise.withResolvers<void>();
  let asked = 0;
  rest.store.receipts = async (query) => {
    asked++;
    await promise;
    return receipts(query);
  };
  const paths = ["/api/batches/1/receipts", `/api/receipts/export?provider=${provider}`];
  const ask = (url: string, client: string) => rest.app.inject({ url, headers: { "x-forwarded-for": client } });
  const first = paths.map((path) => ask(path, "192.0.2.1"));
  await expect.poll(() => asked).toBe(2);
  for (const path of paths) {
    const refused = await ask(path, "192.0.2.1");
    expect([refused.statusCode, refused.json().code]).toEqual([429, "RATE_LIMITED"]);
    expect(Number(refused.headers["retry-after"])).toBeGreaterThan(0);
  }
  const other = ask(paths[0]!, "192.0.2.2");
  await expect.poll(() => asked).toBe(3);
  expect((await ask(paths[1]!, "192.0.2.3")).statusCode).toBe(429);
  resolve();
  for (const answer of await Promise.all([...first, other])) {
    expect([answer.statusCode, answer.body.split("\n").length]).toEqual([200, 2]);
  }
  expect((await ask(paths[0]!, "192.0.2.1")).statusCode).toBe(200);
});

test("batches' receipts count as downloads", async () => {
  const rest = await start({ downloadsPerMinute: 1 });
  await makeReceipt(rest);
  await rest.closeBatch();
  const statuses = [];
  for (let i = 0; i < 2; i++) statuses.push((await rest.get("/api/batches/1/receipts")).statusCode);
  expect(statuses).toEqual([200, 429]);
});

test("HEAD writes no export", async () => {
  const rest = await start({});
  const { provider } = await makeReceipt(rest);
  await rest.closeBatch();
  let asked = 0;
  const receipts = rest.store.receipts.bind(rest.store);
  rest.store.receipts = (query) => {
    asked++;
    return receipts(query);
  };
  for (const url of ["/api/batches/1/receipts", `/api/receipts/export?provider=${provider}`]) {
    expect((await rest.app.inject({ method: "HEAD", url })).statusCode).toBeGreaterThanOrEqual(400);
  }
  expect(asked).toBe(0);
});

test("an export sends each receipt as soon as it is written", async () => {
  const rest = await start({});
  const { cookie } = await rest.signIn();
  const node = await rest.joinNode();
  for (let i = 0; i < 2; i++) {
    const { id } = (await rest.dispatch(cookie)).json() as { id: Hex };
    await rest.complete(node, id);
  }
  const has = rest.blobs.has.bind(rest.blobs);
  const { promise, resolve } = Promise.withResolvers<void>();
  let asked = 0;
  rest.blobs.has = async (digest) => {
    if (++asked > 1) await promise;
    return has(digest);
  };
  const response = await open(await rest.listen(), `/api/receipts/export?provider=${node.offer.wallet}`);
  const lines: string[] = [];
  response.setEncoding("utf8").on("data", (text: string) => lines.push(...text.split("\n").filter(Boolean)));
  await expect.poll(() => lines.length).toBe(1);
  resolve();
  await expect.poll(() => lines.length).toBe(2);
});
