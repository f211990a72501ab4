import { readFileSync } from "node:fs";
import { fromHex, type Hex, type ReceiptLeaf } from "@proof-of-compute/proto";

interface Vectors {
  matmul: {
    assignmentId: string;
    taskId: string;
    nodeId: string;
    spec: string;
    seed: string;
    n: number;
    k: number;
    matrix1_first16: number[];
    freivalds_R_first_row: number[];
    result_first16: number[];
    result_sha256: string;
    units: number;
  }[];
  signing: {
    privateKeySeed: string;
    nodeId: string;
    hello: { nonce: string; audience: string; terms: string; message: string; signature: string };
    results: {
      assignmentId: string;
      taskId: string;
      wallet: string;
      spec: string;
      output: string;
      message: string;
      leaf: string;
    }[];
    frames: Record<string, { root: string; message: string; signature: string }>;
  };
  receipts: {
    types: string[];
    receipts: (Omit<ReceiptLeaf, "units"> & { units: number; leaf: Hex })[];
    roots: Record<string, Hex>;
  };
}

/** Reads a file of tests/vectors: known answers that were made elsewhere from the text of the design alone. */
export function vectors<Name extends keyof Vectors>(name: Name): Vectors[Name] {
  return JSON.parse(readFileSync(new URL(`../vectors/${name}.json`, import.meta.url), "utf8"));
}

/** Bytes of hex with or without its prefix. */
export function bytes(hex: string): Uint8Array {
  return fromHex(hex.startsWith("0x") ? hex : `0x${hex}`);
}
