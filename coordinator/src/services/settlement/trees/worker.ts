import { type Hex, type ReceiptLeaf, receiptTree } from "@proof-of-compute/proto";
import { KEPT_TREES } from "../limits.ts";

/**
 * A message to the worker. The leaves of a tree come in parts under a key; the first part starts anew. Then the message
 * asks for the root, or, with the batch's root as the key, for the proof of one receipt.
 */
export type TreeRequest =
  | { readonly key: string; readonly leaves: readonly ReceiptLeaf[]; readonly first: boolean }
  | { readonly key: string; readonly size: number }
  | { readonly key: Hex; readonly receiptId: Hex };

/** The root or the proof; null after leaves, and for a proof in a tree that the worker does not have. */
export type TreeAnswer = Hex | readonly Hex[] | null;

interface Tree {
  readonly receiptIds: readonly Hex[];
  readonly tree: ReturnType<typeof receiptTree>;
}

const collected = new Map<string, ReceiptLeaf[]>();
const trees = new Map<Hex, Tree>();

/** Runs in the worker of ReceiptTrees. */
export default function answer(request: TreeRequest): TreeAnswer {
  if ("leaves" in request) return collect(request);
  return "size" in request ? rootOf(request) : proofOf(request);
}

function collect({ key, leaves, first }: Extract<TreeRequest, { leaves: unknown }>): null {
  const all = first ? [] : (collected.get(key) ?? []);
  collected.set(key, all);
  for (const leaf of leaves) all.push(leaf);
  return null;
}

function take(key: string): ReceiptLeaf[] | undefined {
  const leaves = collected.get(key);
  collected.delete(key);
  return leaves;
}

function rootOf({ key, size }: Extract<TreeRequest, { size: unknown }>): Hex {
  const leaves = take(key) ?? [];
  // A worker that was replaced in between has lost the first parts.
  if (leaves.length !== size) throw new Error(`the tree worker has ${leaves.length} of ${size} receipts`);
  return receiptTree(leaves).root;
}

function proofOf({ key: root, receiptId }: Extract<TreeRequest, { receiptId: unknown }>): readonly Hex[] | null {
  const leaves = take(root);
  const known = trees.get(root) ?? (leaves && build(root, leaves));
  return known ? known.tree.proof(known.receiptIds.indexOf(receiptId)) : null;
}

function build(root: Hex, leaves: readonly ReceiptLeaf[]): Tree {
  const tree = receiptTree(leaves);
  if (tree.root !== root) throw new Error(`the stored receipts make the root ${tree.root}, the batch says ${root}`);
  const built = { receiptIds: leaves.map(({ receiptId }) => receiptId), tree };
  trees.set(root, built);
  if (trees.size > KEPT_TREES) trees.delete(trees.keys().next().value!);
  return built;
}
