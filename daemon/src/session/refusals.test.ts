import { credentials, status } from "@grpc/grpc-js";
import { describe, expect, test } from "vitest";
import { judge } from "./refusals.ts";

const endpoint = { address: "host:1", audience: "name:2", credentials: credentials.createInsecure() };
const base = { welcomed: false, askedToLeave: false, spreadMs: undefined };

describe("the end of a session", () => {
  test.each([
    [
      status.UNAVAILABLE,
      undefined,
      "No connection established. Last error: Error: connect ECONNREFUSED 1.2.3.4:1 (2026-11-22T13:00:00.000Z)",
      "no",
      /^cannot reach the coordinator host:1 \(connect ECONNREFUSED 1\.2\.3\.4:1\): is it running/,
    ],
    [
      status.UNAVAILABLE,
      undefined,
      "Name resolution failed for target dns:host:1",
      "no",
      /^cannot reach the coordinator host:1 \(Name resolution failed/,
    ],
    [
      status.UNAVAILABLE,
      undefined,
      "No connection established. Last error: self-signed certificate.",
      "no",
      /^no TLS connection to host:1.*--tls-ca/,
    ],
    [status.UNAVAILABLE, undefined, "no Welcome came in time", "no", /no Welcome came in time/],
    [status.UNAVAILABLE, "DRAINING", "shutting down", "no", /is not ready/],
    [status.RESOURCE_EXHAUSTED, "RATE_LIMITED", "too many nodes", "no", /is not ready/],
    [status.UNIMPLEMENTED, undefined, "Received HTTP status code 404", "no", /is not a coordinator/],
    [
      status.UNAVAILABLE,
      undefined,
      "No connection established. Last error: Protocol error",
      "no",
      /is not a coordinator/,
    ],
    [
      status.UNIMPLEMENTED,
      undefined,
      "The server does not implement the method",
      "yes",
      /does not serve proofofcompute\.node\.v1/,
    ],
    [status.INVALID_ARGUMENT, "INVALID_ADDRESS", "wallet has 20 bytes", "yes", /refused: wallet has 20 bytes/],
    [status.FAILED_PRECONDITION, "AUDIENCE_REFUSED", "no name", "yes", /name:2.*--audience/],
  ] as const)("before Welcome: %s %s %s", (code, error, details, final, advice) => {
    expect(judge(endpoint, { ...base, status: { code, details }, error })).toMatchObject({
      final,
      advice: expect.stringMatching(advice),
    });
  });

  test.each([
    [status.UNAVAILABLE, undefined, "Connection dropped", "no", /^lost the coordinator host:1 \(Connection dropped\)$/],
    [status.OK, undefined, "", "no", /^lost the coordinator host:1 \(OK\)$/],
    [status.ABORTED, "SESSION_REPLACED", "newer", "if repeated", /another daemon uses this node.s key/],
    [status.UNAUTHENTICATED, "BAD_SIGNATURE", "frame", "if repeated", /ended the session/],
  ] as const)("after Welcome: %s %s %s", (code, error, details, final, advice) => {
    expect(judge(endpoint, { ...base, welcomed: true, status: { code, details }, error })).toMatchObject({
      final,
      advice: expect.stringMatching(advice),
    });
  });

  test("names the proxy on the way, and says how to do without", () => {
    const details = "No connection established. Last error: undefined. Resolution note: ";
    const end = { ...base, status: { code: status.UNAVAILABLE, details }, error: undefined };
    expect(judge({ ...endpoint, proxy: "proxy:3128" }, end).advice).toMatch(
      /^cannot reach the coordinator host:1 through the proxy proxy:3128 \(no answer\): .*no_proxy$/,
    );
    expect(judge(endpoint, end).advice).not.toMatch(/proxy|undefined/);
  });

  test("has the same key whatever the wording", () => {
    const at = (details: string) =>
      judge(endpoint, { ...base, status: { code: status.UNAVAILABLE, details }, error: undefined }).key;
    expect(at("Last error: connect ECONNREFUSED (2026-01-01T00:00:00Z)")).toBe(
      at("Last error: connect ECONNREFUSED (2026-01-02T00:00:00Z)"),
    );
  });
});
