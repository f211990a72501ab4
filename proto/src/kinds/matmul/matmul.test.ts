import { bytes, vectors } from "@proof-of-compute/tests/support/vectors";
import { describe, expect, it } from "vitest";
import { keystream, sha256 } from "#crypto";
import { toHex } from "../../bytes.ts";
import { checkMatmulSpec, FIELD, freivaldsKey, matmulSeed, matmulUnits, matrixKey } from "./matmul.ts";

const known = vectors("matmul");

describe("matmul tasks", () => {
  it.each(known)("derives seed, matrices and units of n=$n, k=$k", (vector) => {
    const seed = matmulSeed({
      assignmentId: bytes(vector.assignmentId),
      taskId: bytes(vector.taskId),
      nodeId: bytes(vector.nodeId),
      specDigest: sha256(bytes(vector.spec)),
    });
    expect(toHex(seed)).toBe(`0x${vector.seed}`);
    const elements = (key: Uint8Array) => Array.from(keystream(key, 16), (byte) => byte % FIELD);
    expect(elements(matrixKey(seed, 1))).toEqual(vector.matrix1_first16);
    expect(elements(freivaldsKey(seed, bytes(vector.result_sha256)))).toEqual(vector.freivalds_R_first_row);
    expect(matmulUnits(vector.n, vector.k)).toBe(BigInt(vector.units));
  });

  it.each([
    [0, 2],
    [63, 2],
    [100, 2],
    [4160, 2],
    [64.5, 2],
    [Number.NaN, 2],
    [64, 1],
    [64, 65],
    [64, 2.5],
  ])("refuses n=%d, k=%d", (n, k) => {
    expect(() => checkMatmulSpec(n, k)).toThrow(RangeError);
    expect(() => matmulUnits(n, k)).toThrow(RangeError);
  });

  it("allows the limits", () => {
    expect(matmulUnits(64, 2)).toBe(1n);
    expect(matmulUnits(4096, 64)).toBe(63n * 64n ** 3n);
  });
});
