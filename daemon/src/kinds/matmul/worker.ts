import { hash } from "node:crypto";
import { workerData } from "node:worker_threads";
import { computeRows } from "@proof-of-compute/proto/kinds/matmul";
import { move, transferableSymbol, valueSymbol } from "piscina";
import { CELL, type Group, type GroupOutput, SEED_BYTES, SHAPE_SIZE, type SharedCells } from "./messages.ts";

const cells = new Int32Array((workerData as SharedCells).cells);

/** Computes a group of products, or rows of them, one after the other. Progress and cancellation go through shared memory. */
export default function computeGroup(group: Group): unknown {
  const count = group.shapes.length / SHAPE_SIZE;
  const products: (Uint8Array | null)[] = [];
  const digests = new Uint8Array(count * SEED_BYTES);
  for (let i = 0; i < count; i++) {
    const shape = group.shapes.subarray(i * SHAPE_SIZE, (i + 1) * SHAPE_SIZE);
    const [cell, n, k, from, to] = shape as unknown as [number, number, number, number, number];
    const seed = group.seeds.subarray(i * SEED_BYTES, (i + 1) * SEED_BYTES);
    let told = 0;
    const product = computeRows({ seed, n, k }, { from, to }, (fraction) => {
      const done = Math.floor((fraction * CELL.scale * (to - from)) / n);
      Atomics.add(cells, cell + CELL.progress, done - told);
      told = done;
      return Atomics.load(cells, cell + CELL.cancelled) === 0;
    });
    if (product && to - from === n) digests.set(hash("sha256", product, "buffer"), i * SEED_BYTES);
    products.push(product);
  }
  const outputs = join(products.filter((product) => product !== null));
  const answer: GroupOutput = { outputs, digests, finished: products.map((product) => product !== null) };
  return move({ [transferableSymbol]: outputs.buffer, [valueSymbol]: answer });
}

/** The products in one buffer that can be transferred; a single product with a buffer of its own is not copied. */
function join(products: readonly Uint8Array[]): Uint8Array {
  const [first] = products;
  if (products.length === 1 && first?.byteLength === first?.buffer.byteLength) return first!;
  const joined = new Uint8Array(products.reduce((length, product) => length + product.length, 0));
  let offset = 0;
  for (const product of products) {
    joined.set(product, offset);
    offset += product.length;
  }
  return joined;
}
