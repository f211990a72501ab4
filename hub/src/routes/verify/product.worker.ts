import { checkProduct, computeProduct } from "@proof-of-compute/proto/kinds/matmul";
import type { ProductRequest } from "./product.ts";

/** Computing a product and checking one take long enough to be felt, so they run beside the page. */
addEventListener("message", ({ data }: MessageEvent<ProductRequest>) => {
  const report = (progress: number) => {
    postMessage({ progress });
    return true;
  };
  const { task } = data;
  const answer =
    "output" in data ? checkProduct(task, data.output, data.outputDigest, report) : computeProduct(task, report);
  postMessage({ answer });
});
