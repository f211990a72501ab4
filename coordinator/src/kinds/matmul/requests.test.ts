import { randomBytes } from "node:crypto";
import type { Hex } from "@proof-of-compute/proto";
import { type RestHarness, startRest } from "@proof-of-compute/tests/support/rest";
import { afterAll, beforeAll, expect, test } from "vitest";
import { idempotency } from "../../edges/rest/tasks/idempotency.ts";
import type { LiveNode } from "../../services/fleet/live-node.ts";
import { INLINE_OUTPUT_BYTES } from "../../services/results/limits.ts";
import { matmul } from "./kind.ts";

const WALLET = "0x70997970C51812dc3A010C7d01b50e0d17dc79C8";

let rest: RestHarness;
let cookie: string;
let node: LiveNode;
beforeAll(async () => {
  rest = await startRest();
  node = await rest.joinNode();
  ({ cookie } = await rest.signIn());
});
afterAll(() => rest.stop());

const dispatch = (parameters: object) => rest.dispatch(cookie, { kind: "matmul", matmul: parameters });

test.each([
  [{ n: 64 }, "k"],
  [{ n: 63, k: 2 }, "n"],
  [{ n: 96, k: 2 }, "n"],
  [{ n: 8192, k: 2 }, "n"],
  [{ n: "1024", k: 2 }, "n"],
  [{ n: 64, k: 1 }, "k"],
  [{ n: 64, k: 65 }, "k"],
  [{ n: 64, k: 2.5 }, "k"],
])("refuses the product %o and names the field", async (parameters, field) => {
  const response = await dispatch(parameters);
  expect(response.json()).toMatchObject({
    status: 400,
    code: "INVALID_REQUEST",
    detail: expect.stringContaining(`body.matmul.${field}`),
  });
});

test("shows size, units and, once the result was accepted, how it was checked", async () => {
  const asked = (await dispatch({ n: 64, k: 3 })).json() as { id: Hex };
  expect(asked).toMatchObject({ kind: "matmul", matmul: { n: 64, k: 3 }, units: "2" });
  expect(asked).not.toHaveProperty("matmul.check");
  await rest.complete(node, asked.id);
  const check = { method: "freivalds", errorBound: "2^-112" };
  const shown = (await rest.get(`/api/tasks/${asked.id}`, cookie)).json();
  expect(shown).toMatchObject({ state: "verified", matmul: { n: 64, k: 3, check }, units: "2" });
});

test("serves small results from the store and large ones from the blobs", async () => {
  for (const n of [64, 320]) {
    const { id } = (await dispatch({ n, k: 2 })).json() as { id: Hex };
    const output = randomBytes(n * n);
    const { resultDigest } = await rest.complete(node, id, output);
    expect(await rest.blobs.has(resultDigest)).toBe(output.length > INLINE_OUTPUT_BYTES);
    expect((await rest.get(`/api/tasks/${id}/result`, cookie)).rawPayload.equals(output)).toBe(true);
  }
});

test("publishes limits and presets", async () => {
  const [first] = (await rest.get("/api/config")).json().kinds;
  expect(first).toMatchObject({
    kind: "matmul",
    matmul: { n: { min: 64, max: 4096, step: 64 }, k: { min: 2, max: 64 } },
    presets: [
      { name: "small", matmul: { n: 256, k: 4 }, units: "192", default: false },
      { name: "showcase", matmul: { n: 1024, k: 5 }, units: "16384", default: true },
      { name: "large", matmul: { n: 2048, k: 9 }, units: "262144", default: false },
      { name: "huge", matmul: { n: 4096, k: 17 }, units: "4194304", default: false },
    ],
  });
});

// Made by the version in which parameters stood beside the kind: a repeated request may find a task that it stored.
test.each([
  [undefined, "0x2daa75c3c4419176a02a17435b273f3249bfcdc6283f54cd46c8075ed80dc58e"],
  [60, "0x63bc882c6732adcebbcce35ddff38ab1280fb472305c4c5b9dc47ea9a75c9850"],
])("keeps the digest of a request with the deadline %s", (deadlineSeconds, digest) => {
  const request = { kind: "matmul", matmul: { k: 5, n: 1024 }, deadlineSeconds } as const;
  expect(idempotency(WALLET, "key", matmul, request).requestDigest).toBe(digest);
});
