import { echo } from "@proof-of-compute/tests/support/echo/protocol";
import { CHAIN, makeNewerSpec, makeSpec, product } from "@proof-of-compute/tests/support/receipts";
import { describe, expect, it } from "vitest";
import { TaskSpec } from "../../gen/proofofcompute/node/v1/task.ts";
import { concat, fromHex, type Hex, toHex } from "../bytes.ts";
import { KINDS, readTaskSpec, writeTaskSpec } from "./index.ts";
import { matmul } from "./matmul/kind.ts";

describe("a spec", () => {
  it("round-trips", () => {
    const encoded = makeSpec({ kind: product(4096, 64) });
    const decoded = TaskSpec.decode(encoded);
    const terms = {
      chainId: decoded.chainId,
      contract: decoded.contract,
      requester: decoded.requester,
      deadline: decoded.deadlineUnixMs,
    };
    expect(readTaskSpec(encoded, KINDS)).toEqual({ ...terms, kind: matmul, spec: { n: 4096, k: 64 } });
    expect(writeTaskSpec(terms, matmul, { n: 4096, k: 64 })).toEqual(encoded);
  });

  const spec = toHex(makeSpec());
  it.each([
    ["a longer varint", spec.replace("0x0833", "0x08b300")],
    ["a field twice", `${spec}0833`],
    ["an unknown field", `${spec}3801`],
    ["a default written out", spec.replace("0x0833", "0x0800")],
    ["an unknown field within matmul", spec.replace("2a0408401003", "2a06084010031801")],
    ["another order", `0x${spec.slice(6)}0833`],
    ["no kind", spec.replace("2a0408401003", "")],
    ["a cut", spec.slice(0, -2)],
    ["no kind but an unknown number", spec.replace("2a0408401003", "3801")],
    ["an unknown kind and a common field again", `${toHex(makeNewerSpec())}0833`],
    ["an unknown kind before a common field", spec.replace("0x0833", "0x52020801").replace("2a0408401003", "0833")],
    ["an unknown kind, cut", toHex(makeNewerSpec()).slice(0, -2)],
    ["an end of a group", spec.replace("2a0408401003", "54")],
  ])("has no other encoding: %s", (_, other) => {
    expect(other).not.toBe(spec);
    expect(() => readTaskSpec(fromHex(other as Hex), KINDS)).toThrow();
  });

  it("names its chain", () => {
    expect(readTaskSpec(fromHex(spec), KINDS).chainId).toBe(BigInt(CHAIN.chainId));
  });

  it("is refused by its kind for impossible parameters", () => {
    expect(() => readTaskSpec(makeSpec({ kind: product(65, 2) }), KINDS)).toThrow(RangeError);
    expect(() => readTaskSpec(makeSpec({ kind: echoOf(1025) }), KINDS.with(echo))).toThrow(RangeError);
  });

  it.each([
    ["registered elsewhere", makeSpec({ kind: echoOf(5) })],
    ["in a member that this version lacks", makeNewerSpec()],
    ["with further unknown fields", concat(makeNewerSpec(), Uint8Array.of(0x80, 0x01, 0x01))],
  ])("may be of an unknown kind: %s", (_, encoded) => {
    const read = readTaskSpec(encoded, KINDS);
    expect(read).toMatchObject({ kind: undefined, chainId: BigInt(CHAIN.chainId), deadline: 1795305600000n });
    expect("spec" in read).toBe(false);
  });
});

function echoOf(length: number) {
  return { $case: "echo", value: { input: new Uint8Array(length) } } as const;
}
