import type { KeyObject } from "node:crypto";
import { verify } from "node:crypto";
import {
  addressBytes,
  auditPaths,
  equal,
  fromHex,
  type Hex,
  matmulUnits,
  resultMessage,
  resultsMessage,
  rootFromPath,
  sha256,
  toHex,
} from "@proof-of-compute/proto";
import type { Logger } from "pino";
import { ComputeError, hasMovedOn } from "../../domain/errors.ts";
import type { Receipt, SignatureProof } from "../../domain/receipt.ts";
import type { Blobs } from "../../ports/blobs.ts";
import type { Clock } from "../../ports/clock.ts";
import type { Store } from "../../ports/store.ts";
import { logFailure } from "../../util/log-failure.ts";
import type { Leases } from "../dispatch/leases.ts";
import { matmulOf } from "../dispatch/matmul-spec.ts";
import type { Fleet } from "../fleet/fleet.ts";
import type { ActiveAssignment, LiveNode, Verdict } from "../fleet/live-node.ts";
import type { Metrics } from "../metrics.ts";
import type { Verifier } from "./verifier.ts";

/** An output of at most so many bytes travels in its Result and is kept in the store; a larger one in chunks and as a blob. */
export const INLINE_OUTPUT_BYTES = 65_536;
/** Results in one frame. */
const MAX_RESULTS = 256;
/** Results of one node that are judged at once; more wait in its stream. */
const MAX_JUDGING = 256;
/** Wait before an accepted result is written again while the store is away. */
const RETRY_STORE_MS = 500;

export interface ResultIntakeComponents {
  readonly leases: Leases;
  readonly fleet: Fleet;
  readonly verifier: Pick<Verifier, "check">;
  readonly store: Store;
  readonly blobs: Blobs;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: Metrics;
  /** A receipt was made; settlement may have something to do. */
  readonly accepted: () => void;
}

/** A result as it came off the wire. */
export interface ResultClaim {
  readonly assignmentId: Uint8Array;
  readonly taskId: Uint8Array;
  readonly specDigest: Uint8Array;
  readonly outputDigest: Uint8Array;
  /** Empty when it was uploaded in chunks. */
  readonly output: Uint8Array;
}

/** Takes result frames: signature, fence, check, durable verdict, ack. */
export class ResultIntake {
  readonly #components: ResultIntakeComponents;
  readonly #pending = new Map<LiveNode, Set<Promise<void>>>();
  #stopping = false;

  constructor(components: ResultIntakeComponents) {
    this.#components = components;
  }

  /** Resolves once every result that came has its verdict, or after `timeoutMs`. */
  async drain(timeoutMs: number): Promise<void> {
    const { clock } = this.#components;
    let cancel = () => {};
    const timeout = new Promise<void>((resolve) => {
      cancel = clock.after(timeoutMs, resolve);
    });
    await Promise.race([Promise.allSettled([...this.#pending.values()].flatMap((own) => [...own])), timeout]);
    cancel();
    this.#stopping = true;
  }

  /**
   * Judges a frame of results, and resolves once all of it is being judged. Throws BAD_SIGNATURE or PROTOCOL_VIOLATION when
   * the frame as a whole can't be believed; what is wrong with one result is said in its ack.
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
    if (!(await verifyAsync(resultsMessage(root), key, signature))) throw new ComputeError("BAD_SIGNATURE");
    for (const [index, claim] of claims.entries()) {
      const path = paths[index]!.map(toHex);
      while ((this.#pending.get(node)?.size ?? 0) >= MAX_JUDGING) await Promise.race(this.#pending.get(node)!);
      this.#follow(node, this.#judge(node, claim, { signature: toHex(signature), index, size: claims.length, path }));
    }
  }

  #follow(node: LiveNode, work: Promise<void>): void {
    const own = this.#pending.get(node) ?? new Set();
    this.#pending.set(node, own);
    const pending = work
      // The node has no ack and sends it again.
      .catch((error: unknown) => logFailure(this.#components.logger, error, "a result was not judged"))
      .finally(() => {
        own.delete(pending);
        if (own.size === 0 && this.#pending.get(node) === own) this.#pending.delete(node);
      });
    own.add(pending);
  }

  async #judge(node: LiveNode, claim: ResultClaim, proof: SignatureProof): Promise<void> {
    const { leases } = this.#components;
    const assignmentId = toHex(claim.assignmentId);
    const run = leases.run(assignmentId, node);
    if (!run) return this.#answer(node, await this.#storedVerdict(node, assignmentId, toHex(claim.taskId)));
    // Sent again after a lost stream while the first copy is being checked: that one is answered.
    if (run.phase === "checking") return;
    const { clock, metrics } = this.#components;
    const started = clock.monotonic();
    leases.markChecking(run);
    const verdict = await this.#decide(run, claim, proof);
    metrics.checkSeconds.observe((clock.monotonic() - started) / 1_000);
    this.#answer(node, verdict);
  }

  async #decide(run: ActiveAssignment, claim: ResultClaim, proof: SignatureProof): Promise<Verdict | undefined> {
    const output = run.upload?.bytes ?? claim.output;
    let refusal: string | undefined;
    try {
      refusal = await this.#check(run, claim, output);
    } catch (error) {
      const { logger } = this.#components;
      logger.error({ err: error, taskId: run.task.id }, "the check itself failed; the task goes to another node");
      return this.#end(run, "LATE", "CHECK_FAILED");
    }
    return refusal === undefined ? this.#accept(run, claim, proof, output) : this.#end(run, "REJECTED", refusal);
  }

  /** Why a result is refused; undefined: it is right. Throws when the check itself failed, twice. */
  async #check(run: ActiveAssignment, claim: ResultClaim, output: Uint8Array): Promise<string | undefined> {
    const { verifier, logger } = this.#components;
    const { node, assignment, task } = run;
    const specDigest = sha256(task.spec);
    if (!equal(claim.specDigest, specDigest) || !equal(claim.taskId, fromHex(task.id))) return "WRONG_SPEC";
    if (assignment.wallet !== node.offer.wallet) return "WRONG_WALLET";
    const { assignmentId, taskId, outputDigest } = claim;
    const { n, k } = matmulOf(task.spec);
    const job = { assignmentId, taskId, nodeId: fromHex(node.id), specDigest, n, k, output, outputDigest };
    return verifier.check(job).catch((error: unknown) => {
      logger.warn({ err: error, taskId: task.id }, "the check itself failed; checking once more");
      return verifier.check(job);
    });
  }

  /** Ends the attempt without a receipt. Where another end came first, what was stored is said. */
  async #end(run: ActiveAssignment, verdict: "REJECTED" | "LATE", reason: string): Promise<Verdict | undefined> {
    const { leases } = this.#components;
    const { node, assignment, task } = run;
    const ended =
      verdict === "REJECTED"
        ? await leases.end(run, "rejected", reason, "rejected")
        : await leases.end(run, "lost", reason);
    if (ended) return { assignmentId: assignment.id, verdict, reason, units: 0n };
    return this.#storedVerdict(node, assignment.id, task.id);
  }

  async #accept(
    run: ActiveAssignment,
    claim: ResultClaim,
    proof: SignatureProof,
    output: Uint8Array,
  ): Promise<Verdict> {
    const { leases, blobs, clock, logger, metrics, accepted } = this.#components;
    const { assignment, task } = run;
    const { n, k } = matmulOf(task.spec);
    const units = matmulUnits(n, k);
    const resultDigest = toHex(claim.outputDigest);
    const receipt: Receipt = {
      receiptId: assignment.id,
      taskId: task.id,
      nodeId: assignment.nodeId,
      provider: assignment.wallet,
      requester: task.requester,
      kind: task.kind,
      assurance: "proven",
      specDigest: toHex(claim.specDigest),
      spec: toHex(task.spec),
      resultDigest,
      units,
      acceptedAt: clock.now(),
      proof,
    };
    const inline = output.length <= INLINE_OUTPUT_BYTES;
    const accept = async (): Promise<Verdict> => {
      if (!inline) await blobs.put(resultDigest, output);
      await leases.complete(run, receipt, inline ? output : undefined);
      metrics.units.inc(Number(units));
      accepted();
      return { assignmentId: assignment.id, verdict: "ACCEPTED", reason: "", units };
    };
    for (let told = false, movedOn = false; ; told = true) {
      try {
        // Perhaps by our own write, whose answer was lost: what the store says is said.
        const verdict = movedOn ? await this.#storedVerdict(run.node, assignment.id, task.id) : await accept();
        if (verdict && movedOn) leases.forget(run);
        if (verdict) return verdict;
        movedOn = false;
      } catch (error) {
        if (hasMovedOn(error)) {
          movedOn = true;
          continue;
        }
        // Without a verdict the node keeps the result and sends it again.
        if (this.#stopping) throw error;
        if (!told) logFailure(logger, error, "verdict not stored; trying again", { taskId: task.id });
        await new Promise<void>((resolve) => {
          clock.after(RETRY_STORE_MS, resolve);
        });
      }
    }
  }

  /** What was said of an assignment is said again; undefined while it is live, and nothing was said. */
  async #storedVerdict(node: LiveNode, assignmentId: Hex, taskId: Hex): Promise<Verdict | undefined> {
    const task = await this.#components.store.task(taskId);
    const assignment = task?.assignments[assignmentId];
    const late: Verdict = { assignmentId, verdict: "LATE", reason: "UNKNOWN_ASSIGNMENT", units: 0n };
    if (assignment?.nodeId !== node.id) return late;
    if (assignment.state === "live") return undefined;
    if (assignment.receipt) return { assignmentId, verdict: "ACCEPTED", reason: "", units: assignment.receipt.units };
    if (assignment.state === "rejected")
      return { ...late, verdict: "REJECTED", reason: assignment.reason ?? "REJECTED" };
    return { ...late, reason: assignment.reason ?? "ENDED_BEFORE" };
  }

  #answer(node: LiveNode, verdict: Verdict | undefined): void {
    if (!verdict) {
      // It is live and not followed here: dialling again, the node brings what it has with it.
      node.link?.close(new ComputeError("UNAVAILABLE", "another coordinator followed this; dial again"));
      return;
    }
    // How an attempt ended before may be the node's own words, and each new label is kept for ever.
    const ownWords = verdict.verdict === "LATE" && verdict.reason !== "UNKNOWN_ASSIGNMENT";
    this.#components.metrics.results.inc({
      verdict: verdict.verdict,
      reason: ownWords ? "ENDED_BEFORE" : verdict.reason,
    });
    // The node may be on a newer stream by now; without any it asks again when it is back.
    node.link?.ack(verdict);
  }
}

/** ed25519 over the thread pool, so that the event loop goes on. */
export function verifyAsync(message: Uint8Array, key: KeyObject, signature: Uint8Array): Promise<boolean> {
  if (signature.length !== 64) return Promise.resolve(false);
  return new Promise((resolve, reject) => {
    verify(null, message, key, signature, (error, valid) => (error ? reject(error) : resolve(valid)));
  });
}
