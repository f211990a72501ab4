import { randomBytes } from "node:crypto";
import { sha256 } from "@proof-of-compute/proto";
import type { Claim, Work } from "@proof-of-compute/proto/kinds";
import { TaskSpec } from "@proof-of-compute/proto/task";
import { aReceipt, aTask } from "@proof-of-compute/tests/conformance/fixtures";
import { echo } from "@proof-of-compute/tests/support/echo/coordinator";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { WorkerCheckPool } from "../services/results/check-pool.ts";
import { type Checker, KINDS, specOf } from "./index.ts";

const kinds = KINDS.with(echo);
/** For worker threads that start. */
const PATIENCE_MS = 20_000;

/** What every kind promises to the rest of the coordinator. */
describe.each(Array.from(kinds, (kind) => [kind.name, kind] as const))("the kind %s", (name, kind) => {
  const { protocol, parameters, presets, limits, view, toSpec, toView } = kind;
  const specs = presets.map((preset) => toSpec(preset.parameters));
  const [spec] = specs;
  const { maxOutputBytes, maxUnits } = protocol.bounds(spec);

  test("has its protocol's name, published limits that fit their schema, and one default preset", () => {
    expect(protocol.name).toBe(name);
    expect(limits.schema.parse(limits.value)).toEqual(limits.value);
    expect(presets.filter(({ isDefault }) => isDefault)).toHaveLength(1);
  });

  test("takes the parameters of its presets, and reads their specs back", () => {
    for (const [index, preset] of presets.entries()) {
      expect(parameters.parse(preset.parameters)).toEqual(preset.parameters);
      const member = { $case: protocol.specCase, value: specs[index] } as TaskSpec["kind"];
      const encoded = TaskSpec.encode({ ...TaskSpec.decode(new Uint8Array()), kind: member }).finish();
      expect(specOf({ kind: name, spec: encoded }, kinds)?.spec).toEqual(specs[index]);
    }
  });

  test("shows what its view describes, before and after a result was accepted", () => {
    const receipt = aReceipt(aTask(1), "0x01");
    for (const shown of [toView(spec), toView(spec, receipt)]) expect(view.parse(shown)).toEqual(shown);
  });

  describe("its check", () => {
    let pool: WorkerCheckPool;
    let checker: Checker;
    let work: Work<unknown>;
    let right: Uint8Array;
    beforeAll(() => {
      pool = new WorkerCheckPool({ threads: 1 });
      checker = kind.createChecker(pool);
      const [assignmentId, taskId] = [randomBytes(16), randomBytes(16)];
      work = { assignmentId, taskId, nodeId: randomBytes(32), specDigest: randomBytes(32), spec };
      right = protocol.recompute!(work)!;
    });
    afterAll(() => pool.stop());

    const claim = (output: Uint8Array, outputDigest = sha256(output)): Claim<unknown> => ({
      ...work,
      output,
      outputDigest,
    });
    const changed = () => {
      const output = Uint8Array.from(right);
      output[0]! ^= 1;
      return output;
    };

    test("accepts a right result, within its bounds", { timeout: PATIENCE_MS }, async () => {
      const units = protocol.units(spec, right);
      expect(await checker.judge(claim(right))).toEqual({ outcome: "accepted", units });
      expect(units).toBeLessThanOrEqual(maxUnits);
      expect(right.length).toBeLessThanOrEqual(maxOutputBytes);
    });

    test.each([
      ["a changed byte", () => claim(changed())],
      ["another digest than it was signed with", () => claim(right, sha256(changed()))],
      ["nothing in it", () => claim(new Uint8Array())],
      ["more bytes than its bound", () => claim(new Uint8Array(maxOutputBytes + 1))],
    ])("rejects a result with %s", { timeout: PATIENCE_MS }, async (_what, wrong) => {
      expect(await checker.judge(wrong())).toEqual({ outcome: "rejected", reason: expect.stringMatching(/^[A-Z_]+$/) });
    });
  });
});
