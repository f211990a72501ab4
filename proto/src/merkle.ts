import { sha256 } from "#crypto";

// RFC 6962, 2.1: leaves and inner nodes are hashed with different first bytes, so that neither can pass for the other.
const LEAF = Uint8Array.of(0);
const NODE = Uint8Array.of(1);

function parent(left: Uint8Array, right: Uint8Array): Uint8Array {
  return sha256(NODE, left, right);
}

/**
 * Every level of the tree, hashed leaves first. A node without a sibling moves up unchanged, which gives the same tree as
 * the RFC's split at the largest power of two.
 */
function levels(leaves: readonly Uint8Array[]): Uint8Array[][] {
  let level = leaves.map((leaf) => sha256(LEAF, leaf));
  const all = [level];
  while (level.length > 1) {
    const above: Uint8Array[] = [];
    for (let i = 0; i < level.length; i += 2) {
      const right = level[i + 1];
      above.push(right === undefined ? level[i]! : parent(level[i]!, right));
    }
    level = above;
    all.push(level);
  }
  return all;
}

/** The RFC 6962 Merkle tree hash (SHA-256) of a list of byte strings; of an empty list, the digest of no bytes. */
export function merkleRoot(leaves: readonly Uint8Array[]): Uint8Array {
  return levels(leaves).at(-1)![0] ?? sha256(new Uint8Array());
}

/** The RFC 6962 audit path of every leaf, nearest sibling first. */
export function auditPaths(leaves: readonly Uint8Array[]): Uint8Array[][] {
  const all = levels(leaves);
  return leaves.map((_, leaf) => {
    const path: Uint8Array[] = [];
    for (let depth = 0; depth < all.length - 1; depth++) {
      const sibling = all[depth]![(leaf >> depth) ^ 1];
      if (sibling !== undefined) path.push(sibling);
    }
    return path;
  });
}

/**
 * Computes the root from the leaf at `index` of `size` and its audit path (RFC 9162, 2.1.3.2). It equals the signed root
 * exactly when the tree has the leaf there. Throws a RangeError for a path that is impossible at that index.
 */
export function rootFromPath(leaf: Uint8Array, index: number, size: number, path: readonly Uint8Array[]): Uint8Array {
  if (!Number.isSafeInteger(size) || !Number.isSafeInteger(index) || index < 0 || index >= size || size > 2 ** 31) {
    throw new RangeError(`there is no leaf ${index} in a tree of ${size}`);
  }
  let hash = sha256(LEAF, leaf);
  let position = index;
  let last = size - 1;
  for (const sibling of path) {
    if (last === 0) throw new RangeError("the audit path is too long");
    if (sibling.length !== 32) throw new RangeError("an audit path holds 32-byte hashes");
    if (position % 2 === 1) {
      hash = parent(sibling, hash);
    } else if (position < last) {
      hash = parent(hash, sibling);
    } else {
      while (position % 2 === 0) {
        position >>>= 1;
        last >>>= 1;
      }
      hash = parent(sibling, hash);
    }
    position >>>= 1;
    last >>>= 1;
  }
  if (last !== 0) throw new RangeError("the audit path is too short");
  return hash;
}
