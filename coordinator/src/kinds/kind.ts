import type { TaskKindName } from "@proof-of-compute/proto";
import type { Claim, Kind } from "@proof-of-compute/proto/kinds";
import type { z } from "zod";
import type { Receipt } from "../domain/receipt.ts";

/** What a check found. A kind whose results must agree with others before they count will need a third outcome, `held`. */
export type Judgement =
  /** The result is right; it is worth `units`. */
  | { readonly outcome: "accepted"; readonly units: bigint }
  /** The result is wrong; `reason` is a stable code. */
  | { readonly outcome: "rejected"; readonly reason: string };

/** Judges results of one kind. */
export interface Checker<Spec = unknown> {
  /**
   * Judges one result, its digest included: nobody else compares `outputDigest` with `output`. Rejects its promise only when
   * the check itself failed, never for a wrong result.
   */
  judge(claim: Claim<Spec>): Promise<Judgement>;
}

/** Worker threads that all kinds share, so that no check runs on the event loop. */
export interface CheckPool {
  readonly threads: number;
  /** Calls the default export of the module at `worker` with `task` in a thread; `transfer` changes hands instead of being copied. */
  run<Task, Answer>(worker: URL, task: Task, transfer?: readonly ArrayBuffer[]): Promise<Answer>;
}

/** Parameters that a client offers by name. */
export interface Preset<Parameters = unknown> {
  readonly name: string;
  readonly parameters: Parameters;
  /** The one that a client proposes first. */
  readonly isDefault?: true;
}

/** The limits of a kind's parameters, as `/api/config` shows them. */
export interface PublishedLimits<Limits = unknown> {
  readonly schema: z.ZodType<Limits>;
  readonly value: Limits;
}

/**
 * One kind of task as the coordinator sees it: what a requester may ask for, how its results are checked, and what is shown of
 * it. docs/guides/adding-a-kind.md walks through a small one.
 */
export interface CoordinatorKind<Spec = unknown, Parameters = unknown> {
  readonly name: TaskKindName;
  /** What both ends of the wire agree on. */
  readonly protocol: Kind<Spec>;
  /**
   * What a request carries under the kind's name. The order of its fields is part of the API: digests of idempotent requests
   * depend on it, so new fields go to the end.
   */
  readonly parameters: z.ZodObject;
  /** What a task shows under the kind's name. */
  readonly view: z.ZodType;
  readonly limits: PublishedLimits;
  readonly presets: readonly Preset<Parameters>[];
  /** Whether anybody may read a result, or only its requester. */
  readonly resultsArePublic: boolean;
  /** The spec of a task with these parameters, which {@link parameters} admitted. */
  toSpec(parameters: Parameters): Spec;
  /** What {@link view} describes; `receipt` is that of the accepted result, if there is one. */
  toView(spec: Spec, receipt?: Receipt): unknown;
  createChecker(pool: CheckPool): Checker<Spec>;
}
