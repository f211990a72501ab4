import { Contender, type Measurement } from "./contender.ts";
import { NODES, SLOTS, TASK } from "./dispatch/load.ts";
import { type Bench, type BenchOptions, median, type Report, type Result } from "./report.ts";

interface Entrant {
  readonly file: URL;
  readonly unit: string;
  readonly env?: Readonly<Record<string, string>>;
}

/** Whoever takes part, in the order of a round. Interleaved, so that a slow minute of the machine hits all alike. */
const OURS: Entrant = { file: new URL("dispatch/ours.ts", import.meta.url), unit: "tasks/s" };
const PEERS: Readonly<Record<string, Entrant>> = {
  echo: { file: new URL("dispatch/echo.ts", import.meta.url), unit: "round trips/s" },
  v1: { file: new URL("dispatch/v1.ts", import.meta.url), unit: "tasks/s" },
};

/** Submit → assign → compute → check → durable receipt over loopback gRPC, against the bare transport and the first plan. */
export const dispatch: Bench = {
  summary: `${NODES} daemons of ${SLOTS} slots, matmul n=${TASK.n} k=${TASK.k}, signed and fully checked`,
  hasStores: true,
  async run(options) {
    if (options.store === undefined) return compete({ dispatch: OURS, ...PEERS }, options);
    const { startMongo } = await import("@proof-of-compute/tests/support/mongo");
    const server = await startMongo();
    try {
      const mongodb: Entrant = { ...OURS, env: { BENCH_MONGODB_URI: server.uri() } };
      const found = await compete({ dispatch: OURS, "dispatch on mongodb": mongodb, ...PEERS }, options);
      const warning = server.description.includes("stand-in") ? "; no performance figure of MongoDB" : "";
      return { ...found, notes: [`mongodb: ${server.description}${warning}`] };
    } finally {
      await server.stop();
    }
  },
};

async function compete(
  entrants: Readonly<Record<string, Entrant>>,
  { seconds, rounds, note }: BenchOptions,
): Promise<Pick<Report, "results" | "ratios">> {
  const names = Object.keys(entrants);
  const running = new Map<string, Contender>();
  const measured = new Map<string, Measurement[]>(names.map((name) => [name, []]));
  try {
    for (const [name, { file, env }] of Object.entries(entrants)) {
      running.set(name, (await Contender.start(file, [], env)).contender);
    }
    for (let round = 1; round <= rounds; round++) {
      for (const [name, { unit }] of Object.entries(entrants)) {
        const measurement = await running.get(name)!.measure(seconds * 1000);
        measured.get(name)!.push(measurement);
        note(`round ${round} of ${rounds}: ${name} ${Math.round(measurement.rate)} ${unit}`);
      }
    }
  } finally {
    for (const contender of running.values()) await contender.stop();
  }
  const of = (name: string, figure: keyof Measurement) => median(measured.get(name)!.map((one) => one[figure]));
  const results = Object.entries(entrants).flatMap(([name, { unit }]): Result[] => [
    { metric: name, value: of(name, "rate"), unit },
    { metric: `${name} latency p50`, value: of(name, "p50"), unit: "ms" },
    { metric: `${name} latency p99`, value: of(name, "p99"), unit: "ms" },
  ]);
  const ours = of("dispatch", "rate");
  const ratios = Object.fromEntries(Object.keys(PEERS).map((name) => [name, ours / of(name, "rate")]));
  const mongodb = "dispatch on mongodb";
  return {
    results,
    ratios: mongodb in entrants ? { ...ratios, mongodb_to_sqlite: of(mongodb, "rate") / ours } : ratios,
  };
}
