export { checkProduct, computeProduct, computeRows, kernelDigest } from "./kernel.ts";
export { type MatmulSpec, matmul, productOf } from "./kind.ts";
export * from "./matmul.ts";
export { referenceCheck, referenceProduct } from "./reference.ts";
