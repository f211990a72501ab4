import type { KeyObject } from "node:crypto";
import {
  addressBytes,
  auditPaths,
  equal,
  fromHex,
  type Hex,
  resultMessage,
  resultsMessage,
  rootFromPath,
  sha256,
  toHex,
} from "@proof-of-compute/proto";
import type { Logger } from "pino";
import { ComputeError, hasMovedOn } from "../../domain/errors.ts";
import type { SignatureProof } from "../../domain/receipt.ts";
import { type Checker, type CheckPool, type CoordinatorKinds, type Judgement, specOf } from "../../kinds/index.ts";
import { type Blobs, YOUNG_BLOB_MS } from "../../ports/blobs.ts";
import type { Clock } from "../../ports/clock.ts";
import type { TaskStore } from "../../ports/tasks.ts";
import { logFailure } from "../../util/log-failure.ts";
import { retry } from "../../util/retry.ts";
import { sleep } from "../../util/sleep.ts";
import { verifySignature } from "../../util/verify-signature.ts";
import type { Leases } from "../dispatch/leases.ts";
import type { ActiveAssignment } from "../fleet/active-assignment.ts";
import type { LiveNode } from "../fleet/live-node.ts";
import type { Metrics } from "../metrics.ts";
import { INLINE_OUTPUT_BYTES, MAX_JUDGING, MAX_RESULTS, MAX_UPLOADING_BYTES, STORE_RETRY_MS } from "./limits.ts";
import { makeReceipt } from "./receipt.ts";
import type { Upload, UploadBudget } from "./uploads.ts";
import { type ResultVerdict, storedVerdict, verdictLabels } from "./verdict.ts";

export interface ResultIntakeComponents {
  readonly leases: Leases;
  readonly kinds: CoordinatorKinds;
  readonly pool: CheckPool;
  readonly store: Pick<TaskStore, "task">;
  readonly blobs: Pick<Blobs, "put">;
  readonly uploads: Pick<UploadBudget, "open">;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: Metrics;
  /** A receipt was stored; settlement may have something to do. */
  readonly accepted: () => void;
}

/** A result as received. */
export interface ResultClaim {
  readonly assignmentId: Uint8Array;
  readonly taskId: Uint8Array;
  readonly specDigest: Uint8Array;
  readonly outputDigest: Uint8Array;
  /** Empty when the output was uploaded in chunks. */
  readonly output: Uint8Array;
}

/** A result of a live assignment, on its way to a verdict. */
interface Candidate {
  readonly run: ActiveAssignment;
  readonly claim: ResultClaim;
  readonly proof: SignatureProof;
  readonly output: Uint8Array;
}

/**
 * Takes frames of results: signature, fence, check by the task's kind, durable verdict, ack. A result of a kind that this
 * coordinator does not know gets no verdict: the node keeps it for a coordinator that knows the kind.
 */
export class ResultIntake {
  readonly #components: ResultIntakeComponents;
  readonly #checkers: ReadonlyMap<string, Checker>;
  readonly #pending = new Map<LiveNode, Set<Promise<void>>>();
  readonly #stopping = new AbortController();

  constructor(components: ResultIntakeComponents) {
    this.#components = components;
    const { kinds, pool } = components;
    this.#checkers = new Map(Array.from(kinds, (kind) => [kind.name, kind.createChecker(pool)]));
  }

  /** Resolves once every result that arrived has its verdict, or after `timeoutMs`. From then on a refused write is not repeated. */
  async drain(timeoutMs: number): Promise<void> {
    const timeout = new AbortController();
    const late = sleep(this.#components.clock, timeoutMs, timeout.signal);
    const pending = [...this.#pending.values()].flatMap((ofNode) => [...ofNode]);
    await Promise.race([Promise.allSettled(pending), late]);
    timeout.abort();
    this.#stopping.abort();
  }

  /**
   * Takes a chunk of an output that precedes its result. Returns a promise when memory for waiting chunks is used up: the node's
   * stream must wait for it. Throws PROTOCOL_VIOLATION.
   */
  chunk(assignment: ActiveAssignment, offset: bigint, data: Uint8Array): Promise<void> | undefined {
    // Its result has already arrived.
    if (assignment.phase === "checking") return undefined;
    this.#components.leases.advance(assignment, assignment.progress);
    return (assignment.upload ?? this.#beginUpload(assignment)).add(offset, data);
  }

  /**
   * Judges a frame of results, and resolves once all of them are being judged. Throws BAD_SIGNATURE or PROTOCOL_VIOLATION when
   * the frame as a whole cannot be believed; an ack says what is wrong with a single result.
   */
  async results(node: LiveNode, key: KeyObject, claims: readonly ResultClaim[], signature: Uint8Array): Promise<void> {
    if (claims.length === 0 || claims.length > MAX_RESULTS) {
      throw new ComputeError("PROTOCOL_VIOLATION", `a Results frame has 1 to ${MAX_RESULTS} results`);
    }
    const wallet = addressBytes(node.offer.wallet);
    const messages = claims.map((claim) => {
      const { assignmentId, taskId, specDigest, outputDigest } = claim;
      if (
        assignmentId.length !== 16 ||
        taskId.length !== 16 ||
        specDigest.length !== 32 ||
        outputDigest.length !== 32
      ) {
        throw new ComputeError("PROTOCOL_VIOLATION", "ids have 16 bytes and digests 32");
      }
      return resultMessage({ assignmentId, taskId, specDigest, outputDigest, wallet });
    });
    const paths = auditPaths(messages);
    const root = rootFromPath(messages[0]!, 0, messages.length, paths[0]!);
    if (!(await verifySignature(resultsMessage(root), key, signature))) throw new ComputeError("BAD_SIGNATURE");
    for (const [index, claim] of claims.entries()) {
      const path = paths[index]!.map(toHex);
      while ((this.#pending.get(node)?.size ?? 0) >= MAX_JUDGING) await Promise.race(this.#pending.get(node)!);
      this.#follow(node, this.#take(node, claim, { signature: toHex(signature), index, size: claims.length, path }));
    }
  }

  #beginUpload(assignment: ActiveAssignment): Upload {
    const { kind, spec } = assignment.work;
    const { maxOutputBytes } = kind.protocol.bounds(spec);
    const { uploading } = assignment.node;
    if (uploading > 0 && uploading + maxOutputBytes > MAX_UPLOADING_BYTES) {
      const detail = `outputs of at most ${MAX_UPLOADING_BYTES} bytes go ahead of their results`;
      throw new ComputeError("PROTOCOL_VIOLATION", detail);
    }
    const upload = this.#components.uploads.open(maxOutputBytes);
    assignment.receive(upload);
    return upload;
  }

  #follow(node: LiveNode, work: Promise<void>): void {
    const ofNode = this.#pending.get(node) ?? new Set();
    this.#pending.set(node, ofNode);
    const pending = work
      // The node gets no ack and sends the result again.
      .catch((error: unknown) => logFailure(this.#components.logger, error, "a result was not judged"))
      .finally(() => {
        ofNode.delete(pending);
        if (ofNode.size === 0 && this.#pending.get(node) === ofNode) this.#pending.delete(node);
      });
    ofNode.add(pending);
  }

  async #take(node: LiveNode, claim: ResultClaim, proof: SignatureProof): Promise<void> {
    const { leases, clock, metrics } = this.#components;
    const assignmentId = toHex(claim.assignmentId);
    const run = leases.find(assignmentId, node);
    if (!run) return this.#answerUnfollowed(node, assignmentId, toHex(claim.taskId));
    // A second copy, sent after a lost stream while the first is being checked; the first is answered.
    if (run.phase === "checking") return;
    run.toChecking();
    await run.upload?.stored;
    const started = clock.monotonic();
    const verdict = await this.#decide({ run, claim, proof, output: run.upload?.bytes ?? claim.output });
    metrics.checkSeconds.observe((clock.monotonic() - started) / 1_000);
    if (verdict) this.#answer(node, verdict);
    else this.#sendElsewhere(node);
  }

  /** Answers a result whose assignment is not followed here with the verdict that is stored, if there is one. */
  async #answerUnfollowed(node: LiveNode, assignmentId: Hex, taskId: Hex): Promise<void> {
    const task = await this.#components.store.task(taskId);
    const verdict = storedVerdict(task, assignmentId, node.id);
    if (verdict) this.#answer(node, verdict);
    // Nothing here can follow an assignment of an unknown kind, so dialling again would not help.
    else if (task && specOf(task, this.#components.kinds)) this.#sendElsewhere(node);
  }

  /** Resolves with undefined when the assignment turns out to be live at another coordinator. */
  async #decide(candidate: Candidate): Promise<ResultVerdict | undefined> {
    const { run } = candidate;
    let judgement: Judgement;
    try {
      judgement = await this.#check(candidate);
    } catch (error) {
      const { logger } = this.#components;
      logger.error({ err: error, taskId: run.task.id }, "the check itself failed; the task goes to another node");
      return this.#end(run, "LATE", "CHECK_FAILED");
    }
    if (judgement.outcome === "rejected") return this.#end(run, "REJECTED", judgement.reason);
    return this.#accept(candidate, judgement.units);
  }

  /** Rejects when the check itself failed twice. */
  async #check({ run, claim, output }: Candidate): Promise<Judgement> {
    const { node, task, work } = run;
    const specDigest = sha256(task.spec);
    if (!equal(claim.specDigest, specDigest) || !equal(claim.taskId, fromHex(task.id))) {
      return { outcome: "rejected", reason: "WRONG_SPEC" };
    }
    if (run.wallet !== node.offer.wallet) return { outcome: "rejected", reason: "WRONG_WALLET" };
    const { kind, spec } = work;
    const { maxOutputBytes, maxUnits } = kind.protocol.bounds(spec);
    if (output.length > maxOutputBytes) return { outcome: "rejected", reason: "WRONG_LENGTH" };
    const { assignmentId, taskId, outputDigest } = claim;
    const checked = { assignmentId, taskId, nodeId: fromHex(node.id), specDigest, spec, output, outputDigest };
    const checker = this.#checkers.get(kind.name)!;
    const judgement = await checker.judge(checked).catch((error: unknown) => {
      this.#components.logger.warn({ err: error, taskId: task.id }, "the check itself failed; checking once more");
      return checker.judge(checked);
    });
    if (judgement.outcome === "accepted" && judgement.units > maxUnits) {
      throw new RangeError(`the check found ${judgement.units} units, of at most ${maxUnits}`);
    }
    return judgement;
  }

  /** Ends the attempt without a receipt. Where another end came first, its verdict is the answer. */
  async #end(run: ActiveAssignment, outcome: "REJECTED" | "LATE", reason: string): Promise<ResultVerdict | undefined> {
    const { leases } = this.#components;
    const ended =
      outcome === "REJECTED"
        ? await leases.end(run, "rejected", reason, "rejected")
        : await leases.end(run, "lost", reason);
    return ended ? { assignmentId: run.id, outcome, reason, units: 0n } : this.#readVerdict(run);
  }

  /** Stores the accepted result, however long the store is away; throws when the intake stops before it did. */
  #accept({ run, claim, proof, output }: Candidate, units: bigint): Promise<ResultVerdict> {
    const { leases, blobs, clock, logger, metrics, accepted } = this.#components;
    const { specDigest, outputDigest } = claim;
    const acceptedAt = clock.now();
    const receipt = makeReceipt({ assignment: run, specDigest, outputDigest, proof, units, acceptedAt });
    const isInline = output.length <= INLINE_OUTPUT_BYTES;
    const store = async (): Promise<ResultVerdict> => {
      const startedAt = clock.now();
      if (!isInline) await blobs.put(receipt.resultDigest, output);
      await leases.complete(run, receipt, isInline ? output : undefined);
      // This process was suspended. Another coordinator may have seen an old blob without a receipt.
      if (!isInline && clock.now() - startedAt > YOUNG_BLOB_MS / 2) await blobs.put(receipt.resultDigest, output);
      metrics.units.inc(Number(units));
      accepted();
      return { assignmentId: run.id, outcome: "ACCEPTED", reason: "", units };
    };
    const attempt = async (): Promise<ResultVerdict> => {
      for (;;) {
        try {
          return await store();
        } catch (error) {
          if (!hasMovedOn(error)) throw error;
        }
        // The conflicting write may be our own, whose answer was lost: the store has the verdict.
        const verdict = await this.#readVerdict(run);
        if (!verdict) continue;
        leases.forget(run);
        return verdict;
      }
    };
    return retry(clock, this.#stopping.signal, attempt, {
      delayMs: STORE_RETRY_MS,
      onError: (error, failures) => {
        if (failures === 1) logFailure(logger, error, "verdict not stored; trying again", { taskId: run.task.id });
      },
    });
  }

  async #readVerdict({ id, task, node }: ActiveAssignment): Promise<ResultVerdict | undefined> {
    return storedVerdict(await this.#components.store.task(task.id), id, node.id);
  }

  #answer(node: LiveNode, verdict: ResultVerdict): void {
    this.#components.metrics.results.inc(verdictLabels(verdict));
    // `link` may be a newer stream by now. Without one, the node sends the result again when it is back.
    node.link?.ack(verdict);
  }

  /** The assignment is live at another coordinator. When the node dials again, the coordinator that it reaches takes it over. */
  #sendElsewhere(node: LiveNode): void {
    node.link?.close(
      new ComputeError("UNAVAILABLE", "another coordinator follows an assignment of this node; dial again"),
    );
  }
}
