import { expect, test } from "vitest";
import { Metrics } from "./metrics.ts";

test("settlement shows as it is when the metrics are read", async () => {
  const metrics = new Metrics();
  expect((await metrics.render()).body).toContain('proof_of_compute_settlement_state{state="off"} 1');
  let openBatches = 0;
  metrics.follow(() => ({ state: "running", openBatches, recorderBalance: 5n * 10n ** 18n }));
  openBatches = 2;
  const { body } = await metrics.render();
  expect(body).toContain('proof_of_compute_settlement_state{state="off"} 0');
  expect(body).toContain('proof_of_compute_settlement_state{state="running"} 1');
  expect(body).toContain("proof_of_compute_open_batches 2");
  expect(body).toContain("proof_of_compute_recorder_balance_wei 5000000000000000000");
});
