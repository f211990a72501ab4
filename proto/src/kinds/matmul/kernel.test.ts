import { bytes, vectors } from "@proof-of-compute/tests/support/vectors";
import fc from "fast-check";
import { describe, expect, it, vi } from "vitest";
import { sha256 } from "#crypto";
import { toHex } from "../../bytes.ts";
import { checkProduct, computeProduct, computeRows } from "./kernel.ts";
import type { MatmulTask } from "./matmul.ts";
import { referenceProduct } from "./reference.ts";

const known = vectors("matmul");
const SEED = new Uint8Array(32).fill(3);
const task = (n: number, k: number, seed: Uint8Array = SEED): MatmulTask => ({ seed, n, k });

describe("matmul kernel", () => {
  it.each(known)("computes and accepts the known product of n=$n, k=$k", (vector) => {
    const job = task(vector.n, vector.k, bytes(vector.seed));
    const output = computeProduct(job)!;
    expect([...output.subarray(0, 16)]).toEqual(vector.result_first16);
    const digest = sha256(output);
    expect(toHex(digest)).toBe(`0x${vector.result_sha256}`);
    expect(checkProduct(job, output, digest)).toBe(true);
  });

  const sizes = [64, 128, 192, 256].flatMap((n) => [2, 3, 4, 5].map((k) => [n, k] as const));
  it.each(sizes)("equals the reference at n=%d, k=%d", (n, k) => {
    const seed = sha256(Uint8Array.of(n / 64, k));
    expect(toHex(sha256(computeProduct(task(n, k, seed))!))).toBe(toHex(sha256(referenceProduct(task(n, k, seed)))));
  });

  it("computes any rows separately", () => {
    const whole = computeProduct(task(256, 4))!;
    for (const [from, to] of [
      [0, 64],
      [64, 192],
      [192, 256],
    ] as const) {
      const rows = computeRows(task(256, 4), { from, to })!;
      expect(toHex(rows)).toBe(toHex(whole.subarray(from * 256, to * 256)));
    }
  });

  it("stays correct once the engine has optimized it", () => {
    const job = task(512, 2);
    const expected = toHex(sha256(referenceProduct(job)));
    for (let i = 0; i < 16; i++) expect(toHex(sha256(computeProduct(job)!))).toBe(expected);
  });

  const n = 64;
  const right = computeProduct(task(n, 3))!;
  const accepts = (output: Uint8Array) => checkProduct(task(n, 3), output, sha256(output));

  it("refuses every single changed element", () => {
    expect(accepts(right)).toBe(true);
    for (let at = 0; at < right.length; at++) {
      const wrong = right.slice();
      wrong[at] = (wrong[at]! + 1 + (at % 250)) % 251;
      expect(accepts(wrong), `element ${at}`).toBe(false);
    }
  });

  it("refuses many changed elements", () => {
    const changes = fc.array(fc.record({ at: fc.nat(n * n - 1), value: fc.nat(250) }), {
      minLength: 1,
      maxLength: 200,
    });
    fc.assert(
      fc.property(changes, (all) => {
        const wrong = right.slice();
        for (const { at, value } of all) wrong[at] = value;
        expect(accepts(wrong)).toBe(toHex(wrong) === toHex(right));
      }),
    );
  });

  it("refuses equivalent bytes outside the field", () => {
    for (let value = 0; value < 5; value++) {
      const at = right.indexOf(value);
      expect(at).toBeGreaterThanOrEqual(0);
      const wrong = right.slice();
      wrong[at] = 251 + value;
      expect(accepts(wrong)).toBe(false);
    }
    const last = right.slice();
    last[n * n - 1] = 255;
    expect(accepts(last)).toBe(false);
  });

  it("refuses another length", () => {
    for (const length of [0, 1, n * n - 1, n * n + 1, 2 * n * n]) expect(accepts(new Uint8Array(length))).toBe(false);
  });

  it("refuses the answer to another seed, size or count", () => {
    const digest = sha256(right);
    expect(checkProduct(task(n, 3, sha256(SEED)), right, digest)).toBe(false);
    expect(checkProduct(task(n, 4), right, digest)).toBe(false);
    expect(checkProduct(task(n, 2), right, digest)).toBe(false);
    expect(checkProduct(task(128, 3), right, digest)).toBe(false);
  });

  it("refuses parameters outside the limits", () => {
    expect(() => computeProduct(task(100, 2))).toThrow(RangeError);
    expect(() => checkProduct(task(64, 1), right, sha256(right))).toThrow(RangeError);
  });

  it("reports progress, and stops when told to", () => {
    const heard: number[] = [];
    const output = computeProduct(task(1024, 3), (fraction) => heard.push(fraction) > 0);
    expect(output).not.toBeNull();
    expect(heard.length).toBeGreaterThan(2);
    expect(heard).toEqual(heard.toSorted((a, b) => a - b));
    expect(heard.at(-1)).toBeLessThanOrEqual(1);
    let calls = 0;
    expect(computeProduct(task(1024, 3), () => ++calls < 2)).toBeNull();
    expect(calls).toBe(2);
  });

  it("can start another task from within a report", () => {
    const outputs: string[] = [];
    const output = computeProduct(task(1024, 2), () => outputs.push(toHex(computeProduct(task(64, 3))!)) > 0)!;
    expect(new Set(outputs)).toEqual(new Set([toHex(right)]));
    expect(checkProduct(task(1024, 2), output, sha256(output))).toBe(true);
  });

  it("stays correct after dropping the memory of a large task", () => {
    const large = computeProduct(task(1536, 2))!;
    expect(checkProduct(task(1536, 2), large, sha256(large))).toBe(true);
    expect(toHex(computeProduct(task(n, 3))!)).toBe(toHex(right));
  });
});

describe("matmul without WebAssembly SIMD", () => {
  it("computes, checks, reports and stops in the same way", async () => {
    // An engine without SIMD refuses the kernel, as this engine refuses an empty one.
    vi.doMock("../../../gen/kernel/kinds/matmul.ts", () => ({ WASM: "" }));
    vi.resetModules();
    try {
      const plain = await import("./kernel.ts");
      const job = task(128, 3);
      const output = plain.computeProduct(job)!;
      const digest = sha256(output);
      expect(toHex(digest)).toBe(toHex(sha256(computeProduct(job)!)));
      expect(plain.checkProduct(job, output, digest)).toBe(true);
      const wrong = output.slice();
      wrong[77] = (wrong[77]! + 1) % 251;
      expect(plain.checkProduct(job, wrong, sha256(wrong))).toBe(false);
      expect(
        plain.checkProduct(
          job,
          output.map((byte) => (byte === 0 ? 251 : byte)),
          digest,
        ),
      ).toBe(false);
      expect(plain.checkProduct(job, output.subarray(1), digest)).toBe(false);
      expect(toHex(plain.computeRows(job, { from: 64, to: 128 })!)).toBe(toHex(output.subarray(64 * 128)));
      const heard: number[] = [];
      plain.computeProduct(job, (fraction) => heard.push(fraction) > 0);
      expect(heard.at(-1)).toBe(1);
      expect(plain.computeProduct(job, (fraction) => fraction < 0.5)).toBeNull();
    } finally {
      vi.doUnmock("../../../gen/kernel/kinds/matmul.ts");
    }
  });
});
