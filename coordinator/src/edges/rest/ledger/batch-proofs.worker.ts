import { type Hex, type ReceiptLeaf, receiptTree } from "@proof-of-compute/proto";

/** Trees kept for the next question; one of 50,000 receipts takes some 20 MB. */
const KEPT_TREES = 4;

/** What the worker is told: a page of a batch's receipts (the first one begins anew), or which proof is wanted. */
export type ProofStep =
  | { readonly root: Hex; readonly receipts: readonly ReceiptLeaf[]; readonly first: boolean }
  | { readonly root: Hex; readonly receiptId: Hex };

interface Tree {
  readonly receiptIds: readonly Hex[];
  readonly tree: ReturnType<typeof receiptTree>;
}

const pages = new Map<Hex, ReceiptLeaf[]>();
const trees = new Map<Hex, Tree>();

function build(root: Hex, receipts: readonly ReceiptLeaf[]): Tree {
  const tree = receiptTree(receipts);
  if (tree.root !== root) throw new Error(`the stored receipts make the root ${tree.root}, the batch says ${root}`);
  const built = { receiptIds: receipts.map(({ receiptId }) => receiptId), tree };
  trees.set(root, built);
  if (trees.size > KEPT_TREES) trees.delete(trees.keys().next().value!);
  return built;
}

/** Runs in a worker thread: the Merkle proof, or null when the batch's receipts were not told. */
export default function step(told: ProofStep): Hex[] | null {
  const { root } = told;
  if ("receipts" in told) {
    const before = told.first ? [] : (pages.get(root) ?? []);
    before.push(...told.receipts);
    pages.set(root, before);
    return null;
  }
  const receipts = pages.get(root);
  pages.delete(root);
  const known = trees.get(root) ?? (receipts && build(root, receipts));
  return known ? known.tree.proof(known.receiptIds.indexOf(told.receiptId)) : null;
}
