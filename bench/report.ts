import { cpus, totalmem } from "node:os";

/** One measured figure. */
export interface Result {
  /** What was measured, stable across versions: "dispatch", "echo latency p99". */
  readonly metric: string;
  readonly value: number;
  /** "tasks/s", "ms", ... */
  readonly unit: string;
}

/** What a bench found out; the same form for every bench, and what `--json` prints. */
export interface Report {
  readonly name: string;
  /** Where: figures of different machines do not compare, ratios do. */
  readonly machine: string;
  readonly results: readonly Result[];
  /** Measured in the same run, so that they compare between machines: ours over each peer's, or what the name says. */
  readonly ratios: Readonly<Record<string, number>>;
  /** What a reader must know of a figure, one sentence each. */
  readonly notes?: readonly string[];
}

/** A bench: `npm run bench -- <name>`. */
export interface Bench {
  readonly summary: string;
  /** Whether it can measure {@link BenchOptions.store}. */
  readonly hasStores?: true;
  run(options: BenchOptions): Promise<Omit<Report, "name" | "machine">>;
}

/** How long to measure, and whom to tell how it goes. */
export interface BenchOptions {
  /** Seconds a round and contender. */
  readonly seconds: number;
  readonly rounds: number;
  /** A store that takes part beside SQLite, in benches that have one. */
  readonly store?: "mongodb";
  note(line: string): void;
}

export function machine(): string {
  const [cpu] = cpus();
  const memory = `${Math.round(totalmem() / 2 ** 30)} GiB`;
  return `${cpus().length} x ${cpu?.model.trim() ?? "unknown CPU"}, ${memory}, ${process.platform}, Node ${process.versions.node}`;
}

export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}

/** Three significant digits: more would be noise. */
function digits(value: number): string {
  return new Intl.NumberFormat("en", { maximumSignificantDigits: 3 }).format(value);
}

/** The report as a table for people. */
export function table(report: Report): string {
  const rows = [
    ...report.results.map(({ metric, value, unit }) => [metric, digits(value), unit]),
    ...Object.entries(report.ratios).map(([name, ratio]) => [`ratio ${name}`, digits(ratio), ""]),
  ];
  const widths = [0, 1].map((column) => Math.max(...rows.map((row) => row[column]!.length)));
  const lines = rows.map(
    ([name, value, unit]) => `  ${name!.padEnd(widths[0]!)}  ${value!.padStart(widths[1]!)} ${unit}`,
  );
  const notes = report.notes?.map((note) => `  ${note}`) ?? [];
  return [`${report.name} on ${report.machine}`, "", ...lines, ...(notes.length > 0 ? ["", ...notes] : [])].join("\n");
}
