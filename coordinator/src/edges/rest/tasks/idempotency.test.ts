import { echo, echoRequest } from "@proof-of-compute/tests/support/echo/coordinator";
import { expect, test } from "vitest";
import { matmul } from "../../../kinds/matmul/kind.ts";
import { idempotency } from "./idempotency.ts";

const WALLET = "0x70997970C51812dc3A010C7d01b50e0d17dc79C8";

// As the version made them in which parameters stood beside the kind: a repeated request may meet a task that it stored.
test.each([
  [undefined, "0x2daa75c3c4419176a02a17435b273f3249bfcdc6283f54cd46c8075ed80dc58e"],
  [60, "0x63bc882c6732adcebbcce35ddff38ab1280fb472305c4c5b9dc47ea9a75c9850"],
])("keeps the digest of a product with the deadline %s", (deadlineSeconds, digest) => {
  const request = { kind: "matmul", matmul: { k: 5, n: 1024 }, deadlineSeconds } as const;
  expect(idempotency(WALLET, "key", matmul, request).requestDigest).toBe(digest);
});

test("gives different parameters different digests, and one key one task", () => {
  const one = idempotency(WALLET, "key", echo, echoRequest("one"));
  const other = idempotency(WALLET, "key", echo, echoRequest("other"));
  expect(one.id).toBe(other.id);
  expect(one.requestDigest).not.toBe(other.requestDigest);
});
