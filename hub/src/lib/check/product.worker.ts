import { checkProduct } from "@proof-of-compute/proto/kernel";
import type { ProductCheck } from "./product.ts";

/** Freivalds' check takes long enough to be felt, so it runs beside the page. */
addEventListener("message", ({ data }: MessageEvent<ProductCheck>) => {
  const { task, output, outputDigest } = data;
  postMessage(checkProduct(task, output, outputDigest));
});
