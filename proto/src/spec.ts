import { BinaryReader } from "@bufbuild/protobuf/wire";
import { TaskSpec } from "../gen/proofofcompute/node/v1/task.ts";
import { equal } from "./bytes.ts";

/** What a matmul TaskSpec says. */
export interface MatmulTaskSpec {
  /** 0: no chain was known when the task was asked for. */
  readonly chainId: bigint;
  /** 20 bytes; none when `chainId` is 0. */
  readonly contract: Uint8Array;
  readonly requester: Uint8Array;
  /** Milliseconds since 1970. */
  readonly deadline: bigint;
  readonly n: number;
  readonly k: number;
}

/** The number of a field and its wire type, as they stand before its value. */
const TAG = { chainId: 8, contract: 18, requester: 26, deadline: 32, matmul: 42, n: 8, k: 16 } as const;

/**
 * Reads the bytes of a matmul TaskSpec, in browsers too, where the generated decoder lacks Node's Buffer. Throws for any
 * other kind, for unknown fields, and for every encoding but the one that `TaskSpec.encode` makes: a spec has one digest.
 */
export function readTaskSpec(bytes: Uint8Array): MatmulTaskSpec {
  const spec = { chainId: 0n, contract: new Uint8Array(), requester: new Uint8Array(), deadline: 0n, n: 0, k: 0 };
  const reader = new BinaryReader(bytes);
  while (reader.pos < reader.len) {
    const tag = reader.uint32();
    if (tag === TAG.chainId) spec.chainId = BigInt(reader.uint64());
    else if (tag === TAG.contract) spec.contract = reader.bytes().slice();
    else if (tag === TAG.requester) spec.requester = reader.bytes().slice();
    else if (tag === TAG.deadline) spec.deadline = BigInt(reader.uint64());
    else if (tag === TAG.matmul) Object.assign(spec, readMatmul(reader.bytes()));
    else throw new TypeError("the spec has a field that this version does not know");
  }
  const { n, k, deadline: deadlineUnixMs, ...common } = spec;
  const message = { ...common, deadlineUnixMs, kind: { $case: "matmul", value: { n, k } } } as unknown as TaskSpec;
  if (!equal(TaskSpec.encode(message).finish(), bytes)) throw new TypeError("the spec is not encoded canonically");
  return spec;
}

function readMatmul(bytes: Uint8Array): { n: number; k: number } {
  const reader = new BinaryReader(bytes);
  const matmul = { n: 0, k: 0 };
  while (reader.pos < reader.len) {
    const tag = reader.uint32();
    if (tag === TAG.n) matmul.n = reader.uint32();
    else if (tag === TAG.k) matmul.k = reader.uint32();
    else throw new TypeError("the spec has a field that this version does not know");
  }
  return matmul;
}
