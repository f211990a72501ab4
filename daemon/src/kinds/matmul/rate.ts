import { hash } from "node:crypto";
import type { Work } from "@proof-of-compute/proto/kinds";
import { type MatmulSpec, matmulUnits, productOf, referenceCheck } from "@proof-of-compute/proto/kinds/matmul";
import { DaemonError } from "../../errors.ts";

/** The measured product: some 15 ms on a fast thread, and too small to be spread over several. */
const PROBE: Work<MatmulSpec> = {
  assignmentId: new Uint8Array(16),
  taskId: new Uint8Array(16),
  nodeId: new Uint8Array(32),
  specDigest: new Uint8Array(32),
  spec: { n: 448, k: 12 },
};
/** Probes before the clock counts, so that the engine has optimized the kernel. */
const WARM_UP = 10;

/**
 * Compute units a second of one thread, measured by computing real products for `measureMs` after as long a warm-up. Throws
 * a {@link DaemonError} when the machine computes a wrong product.
 */
export async function threadRate(
  compute: (work: Work<MatmulSpec>) => Promise<Uint8Array>,
  measureMs: number,
): Promise<number> {
  const warm = performance.now() + measureMs;
  for (let i = 0; i < WARM_UP && (i === 0 || performance.now() < warm); i++) await compute(PROBE);
  const times: number[] = [];
  for (const end = performance.now() + measureMs; times.length === 0 || performance.now() < end; ) {
    const started = performance.now();
    await compute(PROBE);
    times.push(performance.now() - started);
  }
  // Checked last, when the engine has optimized the kernel as it will for tasks.
  const output = await compute(PROBE);
  if (!referenceCheck(productOf(PROBE), output, hash("sha256", output, "buffer"))) {
    throw new DaemonError("FAILED", "this machine computes wrong products: look for a broken processor or memory");
  }
  // The median ignores other work that the machine does for a moment.
  const time = times.sort((a, b) => a - b)[times.length >> 1]!;
  const { n, k } = PROBE.spec;
  return (Number(matmulUnits(n, k)) * 1_000) / time;
}
