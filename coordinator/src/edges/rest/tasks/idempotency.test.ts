import { echo, echoRequest } from "@proof-of-compute/tests/support/echo/coordinator";
import { expect, test } from "vitest";
import { idempotency } from "./idempotency.ts";

const WALLET = "0x70997970C51812dc3A010C7d01b50e0d17dc79C8";
const OTHER_WALLET = "0x3C44CdDdB6a900fa2b585dd299e03d12FA4293BC";
const one = idempotency(WALLET, "key", echo, echoRequest("one"));

test("gives equal requests equal digests, whatever the order of their members", () => {
  const { kind, echo: parameters } = echoRequest("one");
  expect(idempotency(WALLET, "key", echo, { deadlineSeconds: undefined, echo: parameters, kind })).toEqual(one);
});

test.each([
  ["parameters", echoRequest("other")],
  ["a deadline", { ...echoRequest("one"), deadlineSeconds: 60 }],
])("tells requests with other %s apart, under the same task id", (_what, request) => {
  const other = idempotency(WALLET, "key", echo, request);
  expect(other.id).toBe(one.id);
  expect(other.requestDigest).not.toBe(one.requestDigest);
});

test("gives each wallet and each key a task id of its own", () => {
  const ids = [
    one.id,
    idempotency(OTHER_WALLET, "key", echo, echoRequest("one")).id,
    idempotency(WALLET, "another key", echo, echoRequest("one")).id,
  ];
  expect(new Set(ids).size).toBe(3);
});
