import { once } from "node:events";
import { request } from "node:http";
import { type AddressInfo, connect } from "node:net";
import { ORIGIN, type RestHarness, startRest } from "@proof-of-compute/tests/support/rest";
import { afterAll, beforeAll, expect, test } from "vitest";
import { ComputeError, ERRORS, type ErrorCode } from "../../domain/errors.ts";
import { classify, problem, STATUS } from "./problems.ts";
import { Problem } from "./schemas.ts";

let rest: RestHarness;
let cookie: string;
let failure: unknown;
beforeAll(async () => {
  rest = await startRest({
    components: {
      metrics: {
        render: async () => {
          throw failure;
        },
        httpSeconds: { observe: () => {} },
      },
    },
    init: { limits: { bodyBytes: 1024, headerBytes: 4096 } },
  });
  await rest.app.listen({ host: "127.0.0.1", port: 0 });
  ({ cookie } = await rest.signIn());
});
afterAll(() => rest.stop());

const codes = Object.keys(ERRORS) as ErrorCode[];

test.each(codes)("%s has a status and is answered as a problem document", async (code) => {
  failure = new ComputeError(code, "what happened");
  const response = await rest.get("/metrics");
  expect(response.statusCode).toBe(STATUS[code]);
  expect(response.headers["content-type"]).toBe("application/problem+json");
  expect(Problem.parse(response.json())).toEqual(
    problem(code, "what happened", String(response.headers["x-request-id"])),
  );
});

test.each(codes)("the type of %s links to its explanation", async (code) => {
  const response = await rest.get(problem(code, "", "").type);
  expect([response.statusCode, response.body]).toEqual([200, `${code} (HTTP ${STATUS[code]}): ${ERRORS[code]}\n`]);
});

test("the table has no status for a code that does not exist", () => {
  expect(Object.keys(STATUS).sort()).toEqual([...codes].sort());
});

test("an internal error shows only its request id, under which the log has the cause", async () => {
  failure = new TypeError("password of the database is hunter2");
  const response = await rest.get("/metrics");
  expect(response.json()).toMatchObject({ status: 500, code: "INTERNAL", detail: ERRORS.INTERNAL });
  expect(response.body).not.toContain("hunter2");
  const logged = rest.logged.find(({ requestId }) => requestId === response.headers["x-request-id"]);
  expect(logged).toMatchObject({
    level: 50,
    msg: "request failed",
    err: { message: expect.stringContaining("hunter2") },
  });
});

test.each([
  ["QUEUE_FULL", 429],
  ["DRAINING", 503],
  ["UNAVAILABLE", 503],
] as const)("%s is answered %i, and says when to try again", async (code, status) => {
  failure = new ComputeError(code, "which limit it was");
  const response = await rest.get("/metrics");
  expect([response.statusCode, response.json().detail]).toEqual([status, "which limit it was"]);
  expect(Number(response.headers["retry-after"])).toBeGreaterThan(0);
});

const json = { "content-type": "application/json" };

test.each<[string, object, number, string]>([
  ["an unknown path of the API", { url: "/api/nothing" }, 404, "NOT_FOUND"],
  ["the API's root", { url: "/api" }, 404, "NOT_FOUND"],
  ["a method that a path has not", { method: "DELETE", url: "/api/config" }, 404, "NOT_FOUND"],
  ["a page by POST", { method: "POST", url: "/" }, 404, "NOT_FOUND"],
  ["a file that is not there", { url: "/_app/immutable/gone.js" }, 404, "NOT_FOUND"],
  ["a code that is none", { url: "/problems/toString" }, 404, "NOT_FOUND"],
  ["an unreadable path", { url: "/%zz" }, 400, "INVALID_REQUEST"],
  ["an id in capitals", { url: `/api/tasks/0x${"A".repeat(32)}` }, 400, "INVALID_REQUEST"],
  ["an id that is too long", { url: `/api/tasks/0x${"a".repeat(500)}` }, 404, "NOT_FOUND"],
  ["a task that does not exist", { url: `/api/tasks/0x${"a".repeat(32)}` }, 404, "NOT_FOUND"],
  ["a receipt that does not exist", { url: `/api/receipts/0x${"a".repeat(32)}` }, 404, "NOT_FOUND"],
  ["a batch that does not exist", { url: "/api/batches/9" }, 404, "NOT_FOUND"],
  ["a batch id below one", { url: "/api/batches/0" }, 400, "INVALID_REQUEST"],
  ["a batch id that is no number", { url: "/api/batches/one" }, 400, "INVALID_REQUEST"],
  ["a wallet with a wrong checksum", { url: `/api/nodes?wallet=0x${"aB".repeat(20)}` }, 400, "INVALID_ADDRESS"],
  ["a wallet that is too short", { url: "/api/node/status?wallet=xdc12" }, 400, "INVALID_ADDRESS"],
  ["a provider that is no wallet", { url: "/api/receipts?provider=me" }, 400, "INVALID_ADDRESS"],
  ["an unknown status", { url: "/api/nodes?status=asleep" }, 400, "INVALID_REQUEST"],
  [
    "broken JSON",
    { method: "POST", url: "/api/node/dispatch-task", payload: "{", headers: json },
    400,
    "INVALID_REQUEST",
  ],
  [
    "an array",
    { method: "POST", url: "/api/node/dispatch-task", payload: "[]", headers: json },
    400,
    "INVALID_REQUEST",
  ],
  [
    "a poisoned prototype",
    { method: "POST", url: "/api/node/dispatch-task", payload: '{"__proto__":{"n":64}}', headers: json },
    400,
    "INVALID_REQUEST",
  ],
  [
    "text",
    { method: "POST", url: "/api/node/dispatch-task", payload: "{}", headers: { "content-type": "text/plain" } },
    415,
    "UNSUPPORTED_MEDIA_TYPE",
  ],
  [
    "a form",
    {
      method: "POST",
      url: "/api/auth/sign-in",
      payload: "a=b",
      headers: { "content-type": "application/x-www-form-urlencoded" },
    },
    415,
    "UNSUPPORTED_MEDIA_TYPE",
  ],
  [
    "a large body",
    { method: "POST", url: "/api/auth/sign-in", payload: JSON.stringify({ message: "x".repeat(2000) }), headers: json },
    413,
    "TOO_LARGE",
  ],
])("%s is answered as a problem", async (_name, { headers, ...options }: { headers?: object }, status, code) => {
  const response = await rest.app.inject({ ...options, headers: { cookie, origin: ORIGIN, ...headers } });
  expect(response.headers["content-type"]).toBe("application/problem+json");
  expect(Problem.parse(response.json())).toMatchObject({ status, code });
  expect(response.json().instance).toBe(`urn:uuid:${response.headers["x-request-id"]}`);
});

test("answers headers beyond the limit with 431 and a problem", async () => {
  const { port } = rest.app.server.address() as AddressInfo;
  const [response] = await once(
    request({ port, path: "/", headers: { "x-long": "x".repeat(8192) } }).end(),
    "response",
  );
  expect([response.statusCode, response.headers["content-type"]]).toEqual([431, "application/problem+json"]);
  const [body] = await once(response.setEncoding("utf8"), "data");
  expect(Problem.parse(JSON.parse(body))).toMatchObject({ code: "TOO_LARGE" });
});

test("answers bytes that are not HTTP with 400 and a problem", async () => {
  const { port } = rest.app.server.address() as AddressInfo;
  const socket = connect(port, "127.0.0.1").setEncoding("utf8");
  socket.write("HELLO\r\n\r\n");
  const [answer] = await once(socket, "data");
  expect(answer).toMatch(/^HTTP\/1\.1 400 Bad Request\r\ncontent-type: application\/problem\+json\r\n/);
});

test("answers a request that does not arrive in time with 408", async () => {
  const impatient = await startRest({ init: { limits: { requestTimeoutMs: 300 } } });
  try {
    const port = await impatient.listen();
    const socket = connect(port, "127.0.0.1").setEncoding("utf8");
    socket.write("GET /healthz HTTP/1.1\r\nhost: ");
    const [answer] = await once(socket, "data");
    expect(answer).toMatch(/^HTTP\/1\.1 408 Request Timeout\r\n/);
    expect(answer).toContain("send it again");
    expect(impatient.logged).toContainEqual(expect.objectContaining({ code: "ERR_HTTP_REQUEST_TIMEOUT" }));
  } finally {
    await impatient.stop();
  }
});

test("maps Fastify's own refusals to our codes", () => {
  expect(classify(Object.assign(new Error("gone"), { statusCode: 410 })).code).toBe("INVALID_REQUEST");
  expect(classify(Object.assign(new Error("down"), { statusCode: 503 })).code).toBe("INTERNAL");
  expect(classify("a string").code).toBe("INTERNAL");
});
