import { expect, test } from "vitest";
import { Metrics } from "./metrics.ts";

test("reads the state of settlement when the metrics are read", async () => {
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

const balanceOf = (body: string) => /^proof_of_compute_recorder_balance_wei (.+)$/m.exec(body)?.[1];

test("shows the recorder's balance while it is known, zero included, and not after the lead moved", async () => {
  const metrics = new Metrics();
  expect(balanceOf((await metrics.render()).body)).toBeUndefined();
  let recorderBalance: bigint | undefined = 0n;
  metrics.follow(() => ({ state: "running", openBatches: 0, recorderBalance }));
  expect(balanceOf((await metrics.render()).body)).toBe("0");
  recorderBalance = undefined;
  expect(balanceOf((await metrics.render()).body)).toBeUndefined();
});
