import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from "prom-client";
import type { BatchState } from "../domain/batch.ts";
import type { Ending } from "../domain/task.ts";
import type { SettlementState, SettlementStatus } from "./settlement/status.ts";

const SETTLEMENT_STATES: readonly SettlementState[] = ["off", "running", "standby", "waiting", "stopped"];
const BATCH_STATES: readonly BatchState[] = ["closed", "included", "recorded"];
const ENDS: readonly ("accepted" | Ending["state"])[] = [
  "accepted",
  "rejected",
  "failed",
  "declined",
  "lost",
  "cancelled",
];

/** Every metric of the coordinator, declared once; base units in names. */
export class Metrics {
  readonly registry = new Registry();
  readonly nodes = this.#gauge("nodes", "Nodes with a session or with leases, by status.", ["status"]);
  readonly peers = this.#gauge("peers", "Other coordinators on the same store that are alive.");
  readonly takenOver = this.#counter("tasks_taken_over_total", "Live assignments taken over from another coordinator.");
  readonly tasksSubmitted = this.#counter("tasks_submitted_total", "Tasks accepted from requesters.");
  readonly assignments = this.#counter("assignments_total", "Attempts that nodes were given.");
  readonly assignmentsEnded = this.#counter("assignments_ended_total", "Attempts that ended, by their final state.", [
    "state",
  ]);
  readonly results = this.#counter("results_total", "Results with a verdict, by verdict and reason.", [
    "verdict",
    "reason",
  ]);
  readonly units = this.#counter("units_verified_total", "Compute units of accepted results.");
  readonly queued = this.#gauge("tasks_queued", "Tasks that wait for a node.");
  readonly running = this.#gauge("tasks_running", "Assignments that are live.");
  readonly checkSeconds = this.#histogram("check_seconds", "Time from a result's arrival to its verdict.");
  readonly httpSeconds = this.#histogram("http_request_seconds", "Time of REST requests.", [
    "method",
    "route",
    "status",
  ]);
  readonly batches = this.#counter("batches_total", "Changes of batches, by the state that they reached.", ["state"]);
  readonly settlement = this.#gauge("settlement_state", "1 for the state that settlement is in, else 0.", ["state"]);
  readonly openBatches = this.#gauge("open_batches", "Batches that are closed and not final yet.");
  readonly recorderBalance = this.#gauge("recorder_balance_wei", "Balance of the recorder's wallet.");

  #readSettlement: () => SettlementStatus = () => ({ state: "off", openBatches: 0 });

  constructor() {
    // An alert on a missing series stays silent, and a series that starts at 1 has not increased.
    for (const state of BATCH_STATES) this.batches.inc({ state }, 0);
    for (const state of ENDS) this.assignmentsEnded.inc({ state }, 0);
    for (const status of ["online", "suspect"]) this.nodes.set({ status }, 0);
  }

  /** Adds the metrics of the process. Not in the constructor, because tests do without them. */
  collectProcess(): void {
    collectDefaultMetrics({ register: this.registry });
  }

  /** Reads the state of settlement from this function whenever the metrics are read. */
  follow(settlement: () => SettlementStatus): void {
    this.#readSettlement = settlement;
  }

  async render(): Promise<{ contentType: string; body: string }> {
    const { state, openBatches, recorderBalance } = this.#readSettlement();
    for (const each of SETTLEMENT_STATES) this.settlement.set({ state: each }, Number(each === state));
    this.openBatches.set(openBatches);
    if (recorderBalance === undefined) this.recorderBalance.remove();
    else this.recorderBalance.set(Number(recorderBalance));
    return { contentType: this.registry.contentType, body: await this.registry.metrics() };
  }

  #counter<L extends string = never>(name: string, help: string, labelNames: readonly L[] = []): Counter<L> {
    return new Counter({ name: `proof_of_compute_${name}`, help, labelNames, registers: [this.registry] });
  }

  #gauge<L extends string = never>(name: string, help: string, labelNames: readonly L[] = []): Gauge<L> {
    return new Gauge({ name: `proof_of_compute_${name}`, help, labelNames, registers: [this.registry] });
  }

  #histogram<L extends string = never>(name: string, help: string, labelNames: readonly L[] = []): Histogram<L> {
    return new Histogram({
      name: `proof_of_compute_${name}`,
      help,
      labelNames,
      buckets: [0.001, 0.005, 0.02, 0.1, 0.5, 2, 10, 60],
      registers: [this.registry],
    });
  }
}
