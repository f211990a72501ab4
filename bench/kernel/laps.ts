import type { Measurement } from "../contender.ts";

/** Keeps `lanes` operations going for so long, and in each lane to the end of at least one. */
export async function laps(
  lanes: number,
  milliseconds: number,
  operation: () => Promise<unknown>,
): Promise<Measurement> {
  const times: number[] = [];
  const started = performance.now();
  const lane = async () => {
    for (let lap = performance.now(); ; lap = performance.now()) {
      await operation();
      const now = performance.now();
      times.push(now - lap);
      if (now - started >= milliseconds) return;
    }
  };
  await Promise.all(Array.from({ length: lanes }, lane));
  const seconds = (performance.now() - started) / 1_000;
  times.sort((a, b) => a - b);
  const at = (share: number) => times[Math.floor(times.length * share)]!;
  return { rate: times.length / seconds, p50: at(0.5), p99: at(0.99) };
}
