import { type Hex, type ReceiptLeaf, receiptTree } from "@proof-of-compute/proto";

/** Trees kept for the next question; one of 50,000 receipts takes some 20 MB. */
const KEPT_TREES = 4;

/** Asks for the proof of the receipt at `index`; with `receipts` when the worker does not have the tree. */
export interface ProofRequest {
  readonly root: Hex;
  readonly index: number;
  readonly receipts?: readonly ReceiptLeaf[];
}

const trees = new Map<Hex, ReturnType<typeof receiptTree>>();

/** Runs in a worker thread: the Merkle proof, or null when the tree is not here and no receipts came along. */
export default function proofOf({ root, index, receipts }: ProofRequest): Hex[] | null {
  let tree = trees.get(root);
  if (!tree) {
    if (!receipts) return null;
    tree = receiptTree(receipts);
    if (tree.root !== root) throw new Error(`the stored receipts make the root ${tree.root}, the batch says ${root}`);
    trees.set(root, tree);
    if (trees.size > KEPT_TREES) trees.delete(trees.keys().next().value!);
  }
  return tree.proof(index);
}
