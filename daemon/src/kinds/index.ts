import { KindRegistry } from "@proof-of-compute/proto/kinds";
import type { ExecutorFactory } from "./kind.ts";
import { matmulExecutor } from "./matmul/executor.ts";

/** Every kind that this daemon computes: one line each. */
export const EXECUTORS: KindRegistry<ExecutorFactory> = new KindRegistry<ExecutorFactory>([matmulExecutor]);

/** The kind that `HelloTerms.units_per_second` is about, for coordinators older than `HelloTerms.offers`. */
export const KIND_OF_UNITS_PER_SECOND = "matmul";
