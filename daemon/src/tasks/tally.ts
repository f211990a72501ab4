import { type Hex, toHex } from "@proof-of-compute/proto";
import { FailureCode, type ResultAck, Verdict } from "@proof-of-compute/proto/node";
import type { Logger } from "pino";
import { printable } from "../printable.ts";
import type { Failed } from "./failures.ts";

/** Results that are accepted within this time share a log line. */
const REPORT_MS = 1_000;

/** Outcomes of assignments since the daemon started, without declined and cancelled ones. */
export interface Counts {
  readonly accepted: number;
  readonly rejected: number;
  readonly late: number;
  /** Assignments that failed through a fault of this node. */
  readonly nodeFailures: number;
  /** Assignments whose task itself failed. */
  readonly taskFailures: number;
  /** Units of the accepted results. */
  readonly units: bigint;
}

/** Counts verdicts and failures, and logs them. */
export class Tally {
  readonly #logger: Logger;
  #counts: Counts = { accepted: 0, rejected: 0, late: 0, nodeFailures: 0, taskFailures: 0, units: 0n };
  #reported: Counts = this.#counts;
  #report: NodeJS.Timeout | undefined;

  constructor(components: { readonly logger: Logger }) {
    this.#logger = components.logger;
  }

  get counts(): Counts {
    return this.#counts;
  }

  /** Counts a verdict. */
  add({ assignmentId, verdict, units, ...ack }: ResultAck): void {
    const counts = this.#counts;
    const reason = printable(ack.reason);
    if (verdict === Verdict.VERDICT_ACCEPTED) {
      this.#counts = { ...counts, accepted: counts.accepted + 1, units: counts.units + units };
      this.#report ??= setTimeout(() => this.report(), REPORT_MS).unref();
    } else if (verdict === Verdict.VERDICT_LATE) {
      this.#counts = { ...counts, late: counts.late + 1 };
      this.#logger.info({ assignmentId: toHex(assignmentId), reason }, "a result came too late");
    } else {
      this.#counts = { ...counts, rejected: counts.rejected + 1 };
      this.#logger.warn({ assignmentId: toHex(assignmentId), reason }, "a result was rejected");
    }
  }

  /** Counts a failure; `error` is its cause. */
  addFailure(assignmentId: Hex, { code, detail }: Failed, error: unknown): void {
    const { nodeFailures, taskFailures } = this.#counts;
    if (code === FailureCode.FAILURE_CODE_TASK) {
      this.#counts = { ...this.#counts, taskFailures: taskFailures + 1 };
      this.#logger.warn({ assignmentId, reason: printable(detail) }, "a task failed through its own fault");
    } else {
      this.#counts = { ...this.#counts, nodeFailures: nodeFailures + 1 };
      this.#logger.error({ error, assignmentId }, "a task failed through a fault of this node");
    }
  }

  /** Logs what was accepted since the last report. */
  report(): void {
    clearTimeout(this.#report);
    this.#report = undefined;
    const [now, before] = [this.#counts, this.#reported];
    this.#reported = now;
    if (now.accepted === before.accepted) return;
    this.#logger.info(
      {
        results: now.accepted - before.accepted,
        units: `${now.units - before.units}`,
        totalUnits: `${now.units}`,
      },
      "results accepted",
    );
  }
}
