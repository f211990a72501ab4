import { TaskSpec } from "@proof-of-compute/proto/task";
import { expect, test } from "vitest";
import { KINDS, specOf } from "./index.ts";

const common = { chainId: 0n, contract: new Uint8Array(), requester: new Uint8Array(20), deadlineUnixMs: 1n };
const encode = (kind: TaskSpec["kind"]) => TaskSpec.encode({ ...common, kind }).finish();
const product = encode({ $case: "matmul", value: { n: 64, k: 2 } });

test("reads the spec of a known kind", () => {
  const known = specOf({ kind: "matmul", spec: product }, KINDS);
  expect(known).toEqual({ kind: KINDS.get("matmul"), spec: { n: 64, k: 2 } });
});

test.each([
  ["kind", "wasm", encode(undefined)],
  ["field of the task", "matmul", Buffer.concat([product, Buffer.from([0x78, 1])])],
  ["field of the kind", "matmul", Buffer.concat([product.subarray(0, -5), Buffer.from([6, 8, 64, 16, 2, 24, 1])])],
  ["value", "matmul", encode({ $case: "matmul", value: { n: 8_192, k: 2 } })],
] as const)("does not know a spec with an unknown %s", (_what, kind, spec) => {
  expect(specOf({ kind, spec }, KINDS)).toBeUndefined();
});
