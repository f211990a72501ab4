import { ORIGIN, type RestHarness, startRest } from "@proof-of-compute/tests/support/rest";
import fc from "fast-check";
import { afterAll, beforeAll, expect, test } from "vitest";
import { KINDS } from "../../kinds/index.ts";
import { PEER_PATHS, peerToken } from "../../net/peer-messages.ts";
import { PROBLEM_JSON } from "./problems.ts";
import { Problem } from "./schemas.ts";

const LIMITS = { requestsPerMinute: 1e6, signInsPerMinute: 1e6, dispatchesPerMinute: 1e6 };
let rest: RestHarness;
let cookie: string;
beforeAll(async () => {
  rest = await startRest({ init: { limits: LIMITS } });
  ({ cookie } = await rest.signIn());
});
afterAll(() => rest.stop());

const hex = fc.integer({ min: 0, max: 40 }).map((length) => `0x${"a".repeat(length)}`);
const text = fc.oneof(fc.string({ unit: "binary", maxLength: 60 }), hex, fc.integer().map(String));
const query = fc.dictionary(
  fc.constantFrom("limit", "cursor", "wallet", "provider", "status", "other"),
  fc.oneof(text, fc.constantFrom("online", "1", "100")),
);
const body = fc.oneof(
  fc.json(),
  fc.string(),
  fc
    .record(
      {
        kind: fc.oneof(fc.jsonValue(), fc.constantFrom(...KINDS.names, "echo", "wasm")),
        ...Object.fromEntries(KINDS.names.map((name) => [name, fc.jsonValue()])),
        echo: fc.oneof(fc.jsonValue(), fc.record({ input: fc.oneof(hex, fc.jsonValue()) })),
        deadlineSeconds: fc.jsonValue(),
      },
      { requiredKeys: [] },
    )
    .map((value) => JSON.stringify(value)),
  fc.record({ tasks: fc.array(hex), taskIds: fc.array(hex) }).map((value) => JSON.stringify(value)),
  fc.record({ message: fc.string(), signature: text }).map((value) => JSON.stringify(value)),
);

test("no request causes an internal error, and every refusal is a problem document", async () => {
  const { paths } = rest.app.swagger() as { paths: Record<string, object> };
  const operations = Object.entries(paths)
    .flatMap(([path, methods]) =>
      Object.keys(methods).map((method) => ({ path, method: method.toUpperCase() as "GET" | "POST" })),
    )
    // It would end the session that lets the others get past the door.
    .filter(({ path }) => path !== "/api/auth/sign-out")
    .concat(Object.values(PEER_PATHS).map((path) => ({ path, method: "POST" })));
  await fc.assert(
    fc.asyncProperty(
      fc.constantFrom(...operations),
      text,
      query,
      body,
      async ({ path, method }, id, search, payload) => {
        const url = path.replace(/\{\w+\}/, encodeURIComponent(id.toWellFormed()));
        const response = await rest.app.inject({
          method,
          url,
          query: Object.fromEntries(Object.entries(search).map(([key, value]) => [key, value.toWellFormed()])),
          headers: {
            cookie,
            origin: ORIGIN,
            authorization: `Bearer ${peerToken(rest.peerSecret)}`,
            "content-type": "application/json",
            "last-event-id": encodeURIComponent(id.toWellFormed()),
          },
          ...(method === "POST" && { payload }),
        });
        expect(response.statusCode, `${method} ${url}: ${response.body}`).not.toBe(500);
        if (response.statusCode < 400) return;
        expect(response.headers["content-type"]).toBe(PROBLEM_JSON);
        expect(Problem.parse(response.json()).status).toBe(response.statusCode);
      },
    ),
    { numRuns: 2000 },
  );
});
