import { keccak256 } from "#crypto";
import { TaskKind } from "../gen/proofofcompute/node/v1/task.ts";
import type { Address } from "./address.ts";
import { concat, equal, fromHex, type Hex, toHex } from "./bytes.ts";

/** Name of a kind of task: the lower-case end of its name in the proto's TaskKind. */
export type TaskKindName = keyof typeof TaskKind extends infer N
  ? N extends `TASK_KIND_${infer Name}`
    ? Exclude<Lowercase<Name>, "unspecified">
    : never
  : never;

/** The number of every kind in the leaf, whether or not this version knows the kind. */
export const TASK_KINDS = Object.fromEntries(
  Object.entries(TaskKind)
    .filter(([name, number]) => name.startsWith("TASK_KIND_") && number !== TaskKind.TASK_KIND_UNSPECIFIED)
    .map(([name, number]) => [name.slice("TASK_KIND_".length).toLowerCase(), number]),
) as Readonly<Record<TaskKindName, TaskKind>>;

/** Why a receipt can be believed, with its number in the leaf. */
export const ASSURANCES = { proven: 1, replicated: 2, attested: 3 } as const;

/** Name of an assurance in REST, the hub and the stores. */
export type AssuranceName = keyof typeof ASSURANCES;

/** What a leaf of a batch says about one checked result. */
export interface ReceiptLeaf {
  /** The assignment id, 16 bytes. */
  readonly receiptId: Hex;
  /** 16 bytes. */
  readonly taskId: Hex;
  /** The node's ed25519 public key, 32 bytes. */
  readonly nodeId: Hex;
  /** The wallet that is credited. */
  readonly provider: Address;
  /** The wallet that requested the task. */
  readonly requester: Address;
  /** {@link TASK_KINDS}. */
  readonly kind: number;
  /** proven 1, replicated 2, attested 3. */
  readonly assurance: number;
  /** SHA-256 of the serialized TaskSpec. */
  readonly specDigest: Hex;
  /** SHA-256 of the output. */
  readonly resultDigest: Hex;
  /** Compute units. */
  readonly units: bigint;
  /** Milliseconds since 1970, coordinator's clock. */
  readonly acceptedAt: number;
}

/** The leaf's fields and their ABI types, in the order of the contract's struct Receipt. */
const RECEIPT_FIELDS = {
  receiptId: "bytes16",
  taskId: "bytes16",
  nodeId: "bytes32",
  provider: "address",
  requester: "address",
  kind: "uint8",
  assurance: "uint8",
  specDigest: "bytes32",
  resultDigest: "bytes32",
  units: "uint96",
  acceptedAt: "uint64",
} as const satisfies Record<keyof ReceiptLeaf, string>;

const WORD = 32;

/** The place of each field's bytes: bytesN at the start of its 32-byte word, addresses and numbers at the end. */
const LAYOUT = (Object.entries(RECEIPT_FIELDS) as [keyof ReceiptLeaf, string][]).map(([field, type], word) => {
  const width = Number(/\d+$/.exec(type)?.[0] ?? 160);
  const size = type.startsWith("bytes") ? width : width / 8;
  return { field, type, size, at: WORD * word + (type.startsWith("bytes") ? 0 : WORD - size) };
});

/** abi.encode of the fields, all of them static. A general encoder would take seconds for a batch. */
function encode(receipt: ReceiptLeaf): Uint8Array {
  const words = new Uint8Array(WORD * LAYOUT.length);
  for (const { field, type, size, at } of LAYOUT) {
    const value = receipt[field];
    const digits =
      typeof value === "string"
        ? value.slice(2)
        : BigInt(value)
            .toString(16)
            .padStart(2 * size, "0");
    if (digits.length !== 2 * size || digits.includes("-")) throw new RangeError(`${field} does not fit ${type}`);
    words.set(fromHex(`0x${digits}`), at);
  }
  return words;
}

function leafHash(receipt: ReceiptLeaf): Uint8Array {
  return keccak256(keccak256(encode(receipt)));
}

function compare(a: Uint8Array, b: Uint8Array): number {
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return a[i]! - b[i]!;
  return 0;
}

/** Hashes an inner node. The smaller sibling comes first, so a proof does not have to say which side each is on. */
function parent(a: Uint8Array, b: Uint8Array): Uint8Array {
  return keccak256(compare(a, b) < 0 ? concat(a, b) : concat(b, a));
}

/**
 * The leaf of a receipt, keccak256(keccak256(abi.encode(fields))), as OpenZeppelin's StandardMerkleTree makes it. Hashed
 * twice, so that no inner node of a tree can pass for a leaf. Throws a RangeError for a field that does not fit its type.
 */
export function receiptLeaf(receipt: ReceiptLeaf): Hex {
  return toHex(leafHash(receipt));
}

/**
 * The Merkle tree of a batch: its root, and the proof of the receipt at an index. It is node for node OpenZeppelin's
 * StandardMerkleTree: in an array with the root first, node i has the children 2i + 1 and 2i + 2, and the sorted leaves
 * fill the end in reverse order. That library takes seconds for a batch of 50,000. Throws a RangeError for an empty batch.
 */
export function receiptTree(receipts: readonly ReceiptLeaf[]): {
  readonly root: Hex;
  proof(index: number): Hex[];
} {
  const count = receipts.length;
  if (count === 0) throw new RangeError("a batch has at least one receipt");
  const leaves = receipts.map((receipt, index) => ({ index, hash: leafHash(receipt) }));
  leaves.sort((a, b) => compare(a.hash, b.hash));
  const tree = new Array<Uint8Array>(2 * count - 1);
  const places = new Array<number>(count);
  for (const [rank, { index, hash }] of leaves.entries()) {
    const place = tree.length - 1 - rank;
    tree[place] = hash;
    places[index] = place;
  }
  for (let node = count - 2; node >= 0; node--) tree[node] = parent(tree[2 * node + 1]!, tree[2 * node + 2]!);
  return {
    root: toHex(tree[0]!),
    proof(index) {
      const first = places[index];
      if (first === undefined) throw new RangeError(`there is no receipt ${index} in a batch of ${count}`);
      const path: Hex[] = [];
      for (let place = first; place > 0; place = (place - 1) >> 1) {
        path.push(toHex(tree[place % 2 === 1 ? place + 1 : place - 1]!));
      }
      return path;
    },
  };
}

/**
 * Whether a proof leads from a leaf to a batch's root. The leaf must come from {@link receiptLeaf}: an inner node in its place
 * leads to the root too.
 */
export function verifyReceiptProof(root: Hex, leaf: Hex, proof: readonly Hex[]): boolean {
  const reached = proof.reduce((hash, sibling) => parent(hash, fromHex(sibling)), fromHex(leaf));
  return equal(reached, fromHex(root));
}
