import { Contender, type Measurement } from "./contender.ts";
import { NODES, SLOTS, TASK } from "./dispatch/load.ts";
import { type Bench, median, type Result } from "./report.ts";

/** Whoever takes part, in the order of a round. Interleaved, so that a slow minute of the machine hits all alike. */
const CONTENDERS = {
  dispatch: new URL("dispatch/ours.ts", import.meta.url),
  echo: new URL("dispatch/echo.ts", import.meta.url),
  v1: new URL("dispatch/v1.ts", import.meta.url),
} as const;

type Name = keyof typeof CONTENDERS;
const NAMES = Object.keys(CONTENDERS) as Name[];
const UNITS: Record<Name, string> = { dispatch: "tasks/s", echo: "round trips/s", v1: "tasks/s" };

/** Submit → assign → compute → check → durable receipt over loopback gRPC, against the bare transport and the first plan. */
export const dispatch: Bench = {
  summary: `${NODES} daemons of ${SLOTS} slots, matmul n=${TASK.n} k=${TASK.k}, signed and fully checked`,
  async run({ seconds, rounds, note }) {
    const running = new Map<Name, Contender>();
    const measured = new Map<Name, Measurement[]>(NAMES.map((name) => [name, []]));
    try {
      for (const name of NAMES) running.set(name, (await Contender.start(CONTENDERS[name])).contender);
      for (let round = 1; round <= rounds; round++) {
        for (const name of NAMES) {
          const measurement = await running.get(name)!.measure(seconds * 1000);
          measured.get(name)!.push(measurement);
          note(`round ${round} of ${rounds}: ${name} ${Math.round(measurement.rate)} ${UNITS[name]}`);
        }
      }
    } finally {
      for (const contender of running.values()) await contender.stop();
    }
    const of = (name: Name, figure: keyof Measurement) => median(measured.get(name)!.map((one) => one[figure]));
    const results = NAMES.flatMap((name): Result[] => [
      { metric: name, value: of(name, "rate"), unit: UNITS[name] },
      { metric: `${name} latency p50`, value: of(name, "p50"), unit: "ms" },
      { metric: `${name} latency p99`, value: of(name, "p99"), unit: "ms" },
    ]);
    const ours = of("dispatch", "rate");
    return { results, ratios: { echo: ours / of("echo", "rate"), v1: ours / of("v1", "rate") } };
  },
};
