import { KindRegistry } from "@proof-of-compute/proto/kinds";
import type { CoordinatorKind } from "./kind.ts";
import { matmul } from "./matmul/kind.ts";

export type * from "./kind.ts";
export { type KnownSpec, specOf } from "./spec.ts";

/** The kinds that a coordinator knows. */
export type CoordinatorKinds = KindRegistry<CoordinatorKind>;

/** Every kind of this version: one line each. */
export const KINDS: CoordinatorKinds = new KindRegistry<CoordinatorKind>([matmul]);
