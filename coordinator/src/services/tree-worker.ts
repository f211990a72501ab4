import { type Hex, type ReceiptLeaf, receiptLeaf, rootOfLeaves } from "@proof-of-compute/proto";

/** A step of a batch's tree, computed in a worker of ReceiptTrees. */
export type TreeStep = { readonly receipts: readonly ReceiptLeaf[] } | { readonly leaves: readonly Hex[] };

/** The leaves of receipts, or the root over leaves as the only element. */
export default function treeStep(step: TreeStep): Hex[] {
  return "receipts" in step ? step.receipts.map(receiptLeaf) : [rootOfLeaves(step.leaves)];
}
