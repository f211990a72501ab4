import { type Hex, toHex } from "@proof-of-compute/proto";
import { type ResultAck, Verdict } from "@proof-of-compute/proto/node";
import type { Logger } from "pino";
import { printable } from "../printable.ts";

/** Accepted results of so long become one log line. */
const REPORT_MS = 1_000;

/** What became of results since the daemon started. */
export interface Counts {
  readonly accepted: number;
  readonly rejected: number;
  readonly late: number;
  /** Assignments that failed on this node; neither declined nor cancelled ones. */
  readonly failed: number;
  /** Units of the accepted results. */
  readonly units: bigint;
}

/** Counts verdicts and tells the log of them. */
export class Tally {
  readonly #logger: Logger;
  #counts: Counts = { accepted: 0, rejected: 0, late: 0, failed: 0, units: 0n };
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

  /** Counts a task that failed here. */
  addFailure(assignmentId: Hex, error: unknown): void {
    this.#counts = { ...this.#counts, failed: this.#counts.failed + 1 };
    this.#logger.error({ error, assignmentId }, "a task failed on this node");
  }

  /** Tells the log now what was accepted since it last did. */
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
